"""The AWS wire: which operation a request is for, who asks, what is asked and how it is answered."""
