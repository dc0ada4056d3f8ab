"""Attachments that SES does not take, by the end of their names (SES developer guide, unsupported attachment types)."""

#: In lower case, without the dot.
UNSUPPORTED_EXTENSIONS = frozenset(
    {
        "ade", "adp", "app", "asp", "bas", "bat", "cer", "chm", "cmd", "com", "cpl", "crt", "csh", "der", "exe",
        "fxp", "gadget", "hlp", "hta", "inf", "ins", "isp", "its", "js", "jse", "ksh", "lib", "lnk", "mad", "maf",
        "mag", "mam", "maq", "mar", "mas", "mat", "mau", "mav", "maw", "mda", "mdb", "mde", "mdt", "mdw", "mdz",
        "msc", "msh", "msh1", "msh1xml", "msh2", "msh2xml", "mshxml", "msi", "msp", "mst", "ops", "pcd", "pif",
        "plg", "prf", "prg", "ps1", "ps1xml", "ps2", "ps2xml", "psc1", "psc2", "reg", "scf", "scr", "sct", "shb",
        "shs", "sys", "tmp", "url", "vb", "vbe", "vbs", "vps", "vsmacros", "vss", "vst", "vsw", "vxd", "ws", "wsc",
        "wsf", "wsh", "xnk",
    }
)  # fmt: skip


def unsupported_extension(file_name: str) -> str:
    """The extension for which SES refuses an attachment of this name; "" = it takes it. Dots at the end do not help."""
    _, dot, extension = file_name.strip().rstrip(". ").rpartition(".")
    extension = extension.strip().lower()
    return extension if dot and extension in UNSUPPORTED_EXTENSIONS else ""
