"""Users, passwords and rights, as the client asks for them."""

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError


def words(found):
    """The text of whatever the client makes of a reply."""
    return {each.decode() if isinstance(each, bytes) else each for each in found}


def test_users_are_made_described_tried_and_removed(client):
    password = client.acl_genpass()
    password = password.decode() if isinstance(password, bytes) else password
    assert len(password) == 64
    assert client.acl_setuser(
        "web", enabled=True, passwords=[f"+{password}"], keys=["shop:*"], commands=["+get"]
    )
    try:
        told = client.acl_getuser("web")
        assert "on" in words(told["flags"])
        assert client.acl_getuser("nobody") is None
        assert {"web", "default"} <= words(client.acl_users())
        assert any("user web on" in line for line in words(client.acl_list()))
        assert words([client.acl_whoami()]) == {"default"}
        assert words([client.acl_dryrun("web", "GET", "shop:1")]) == {"OK"}
        (refused,) = words([client.acl_dryrun("web", "GET", "other")])
        assert refused == "This user has no permissions to access the 'other' key"
        assert {"run", "tensor", "read"} <= words(client.acl_cat())
        assert "ai.modelexecute" in words(client.acl_cat("run"))
        assert any("SETUSER" in line for line in words(client.acl_help()))
    finally:
        assert client.acl_deluser("web") == 1


def test_a_user_connects_and_does_what_it_may(client, port):
    client.acl_setuser(
        "web", enabled=True, passwords=["+secret"], keys=["shop:*"], commands=["+get"]
    )
    try:
        with redis.Redis(port=port, username="web", password="secret") as web:  # noqa: S106 - of a test
            assert web.get("shop:1") is None
            with pytest.raises(NoPermissionError):
                web.get("other")
            with pytest.raises(NoPermissionError):
                web.set("shop:1", "a")
        with (
            redis.Redis(port=port, username="web", password="wrong") as stranger,  # noqa: S106 - as above
            pytest.raises(AuthenticationError),
        ):
            stranger.get("shop:1")
        assert {"auth", "command", "key"} <= words(each["reason"] for each in client.acl_log())
        assert client.acl_log_reset()
        assert client.auth("anything", "default")
    finally:
        client.acl_deluser("web")


def test_without_a_file_of_users_there_is_none_to_load_or_save(client):
    for refused in (client.acl_load, client.acl_save):
        with pytest.raises(ResponseError, match="not configured to use an ACL file"):
            refused()
