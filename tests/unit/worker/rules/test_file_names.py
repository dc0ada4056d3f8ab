"""File names, however they are written."""

import email

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.rules.file_names import file_names


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        (b"; filename=plan.exe", ("plan.exe",)),
        (b'; filename="a \\"b\\".exe"', ('a "b".exe',)),
        (b"; FileName=plan.exe; size=3", ("plan.exe",)),
        (b'; filename=\r\n\t"plan.exe"', ("plan.exe",)),
        (b'; filename="=?utf-8?q?pl=C3=A4n.exe?="', ("plän.exe",)),
        (b"; filename*=UTF-8''pl%C3%A4n%20b.exe", ("plän b.exe",)),
        (b"; filename*=iso-8859-1'de'pl%E4n.exe", ("plän.exe",)),
        (b"; filename*0=pl; filename*1=an.; filename*2=exe", ("plan.exe",)),
        (b"; filename*0*=utf-8''pl%C3; filename*1*=%A4n.; filename*2=exe", ("plän.exe",)),
        (b"; filename=a.txt; filename*=utf-8''b.exe", ("a.txt", "b.exe")),
        (b"; filename = spaced.exe", ("spaced.exe",)),
        (b'; filename="never closed.exe', ("never closed.exe",)),
        (b"; filename=", ()),
        (b"; filenames=a.exe", ()),
        (b"", ()),
    ],
)
def test_a_file_name_is_read_however_it_is_written(parameters, names):
    assert tuple(file_names(b" attachment" + parameters)) == names


@pytest.mark.parametrize(
    "value",
    [
        b"attachment, filename=plan.exe",
        b"attachment; (c) filename=plan.exe",
        b"attachment; filename (c (d)) = plan.exe",
        b"attachment; filename=(c) plan.exe",
        b"attachment; filename=(c) pl(d)an.exe",
        b"attachment filename=plan.exe",
        b'attachment; filename="plan".exe',
        b'attachment; filename=plan.ex"e"',
        b'attachment; x="; filename=plan.exe"',
        b'attachment; x="a\\"; filename="plan.exe"',
        b'attachment; filename="plan.e\\xe"',
        b"attachment; filename=a.txt; filename=plan.exe",
        b"attachment; filename*00=pl; filename*01=an.exe",
        b"attachment; filename*2=exe; filename*0*=utf-8''pl%61; filename*1*=n.",
        b"attachment; filename*0=plan.exe; filename*0=.txt",
        b"attachment; filename*0=a.txt; filename*0*=utf-8''plan%2Eexe",
        b"attachment; filename*0=plan.exe; filename*5=.txt",
        b"attachment; filename*=a.txt; filename*0=plan; filename*1=.exe",
        b"attachment; filename=plan.exe.",
    ],
)
def test_a_name_that_some_reader_may_find_is_found(value):
    assert "plan.exe" in file_names(value)


def test_a_name_with_blanks_and_one_with_a_semicolon_are_found_whole():
    assert "my plan.exe" in file_names(b"attachment; filename=my plan.exe")
    assert 'a";plan.exe' in file_names(b'attachment; filename=a";plan.exe')
    assert file_names(b'attachment; filename="a; plan (1).exe"; size=3') == ["a; plan (1).exe"]


def test_other_parameters_are_no_names():
    assert file_names(b"attachment; x-name=a.exe; my.name=b.exe; hostname=c.exe; size=3") == []


blanks = st.sampled_from(["", " ", "\r\n\t"])
names = st.text("ab.exe ();,'%\\", min_size=1, max_size=20).map(lambda text: text.strip() + ".exe")
values = st.one_of(
    names.map(lambda text: '"' + text.replace("\\", "\\\\") + '"'), names.filter(lambda text: ";" not in text)
)


@given(st.sampled_from(["filename", "FILENAME", "name"]), blanks, values)
def test_the_name_that_python_finds_is_among_those_found(parameter, blank, value):
    header = "Content-Type: application/x" if parameter == "name" else "Content-Disposition: attachment"
    shown = email.message_from_string(f"{header};{blank}{parameter}={value}\r\n\r\nx").get_filename()
    found = [" ".join(name.split()) for name in file_names(f"x;{blank}{parameter}={value}".encode())]
    assert " ".join((shown or "").split()) in found
