// Lets only some senders write to a list. Written as for Amazon WorkMail, with nothing but what Node has.
//
// Environment: ALLOWED_SENDERS (comma-separated), SILENT: lists that a stranger shall not even learn of, so that their
// copy is dropped instead of bounced.

const list = (name) => (process.env[name] ?? "").split(",").map((one) => one.trim().toLowerCase()).filter(Boolean);

export const handler = async (event) => {
  const sender = event.envelope.mailFrom.address.toLowerCase();
  if (list("ALLOWED_SENDERS").includes(sender)) {
    return { actions: [{ action: { type: "DEFAULT" }, allRecipients: true }] };
  }
  const recipients = event.envelope.recipients.map((one) => one.address);
  const silent = recipients.filter((one) => list("SILENT").includes(one.toLowerCase()));
  console.log(`${event.messageId}: ${recipients.length} recipients are not for its sender`);
  return {
    actions: [
      { action: { type: "DROP" }, recipients: silent },
      {
        action: { type: "BOUNCE", parameters: { bounceMessage: "You may not write to this list." } },
        allRecipients: true,
      },
    ],
  };
};
