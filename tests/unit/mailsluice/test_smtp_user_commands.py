"""`mailsluice user`."""

from pathlib import Path

from mailsluice.users import add_user
from smtp_gateway.users import UserFile


def test_a_new_password_alone_widens_nothing(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    assert add_user(file, "shop", ["shop.example"], "first").endswith("may send as: shop.example")
    assert add_user(file, "shop", [], "second").endswith("may send as: shop.example")
    assert UserFile(file).verify("shop", "second")
    assert add_user(file, "shop", ["news.example"], "third").endswith("may send as: news.example")
    assert add_user(file, "other", [], "secret").endswith("may send as: *")
