import msgspec

from gateway.settings import ENVIRONMENT, Settings, settings_reference


def leaves(struct):
    """Names of all fields, nested ones too, that hold no struct."""
    for field in msgspec.structs.fields(struct):
        nested = next(
            (part for part in parts_of(field.type) if isinstance(part, type) and issubclass(part, msgspec.Struct)), None
        )
        if nested is None:
            yield field.encode_name
        else:
            yield from leaves(nested)


def parts_of(kind):
    return (kind, *getattr(kind, "__args__", ()))


def rows():
    lines = [line for line in settings_reference().splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_key_is_there_with_its_meaning():
    keys = [row for row in rows() if len(row) == 4]
    assert sorted(row[0].strip("`").split(".")[-1].removesuffix("[]") for row in keys) == sorted(leaves(Settings))
    assert all(all(row) for row in keys)
    assert len({row[0] for row in keys}) == len(keys)


def test_types_and_defaults_are_words():
    by_key = {row[0]: row[1:] for row in rows()}
    assert by_key["`server.port`"] == ["integer", "`8080`", "port to listen on; 0 takes a free one"]
    assert by_key["`models[].name`"][1] == "required"
    assert by_key["`models[].fallbacks`"][:2] == ["list of text", "`[]`"]
    assert by_key["`apps.<name>.block_mode`"][:2] == ["`refusal` or `error`", "`refusal`"]
    assert by_key["`apps.<name>.retrieval`"][:2] == ["true or false", "`true`"]
    assert by_key["`policies`"][:2] == ["list of path", "`[policies/base]`"]
    assert by_key["`limits.redis_url`"][1] == "empty"


def test_every_variable_is_there():
    named = {row[0].strip("`"): row[1].strip("`") for row in rows() if len(row) == 2}
    assert named.pop("GATEWAY_CONFIG")
    assert named == {name: ".".join(path) for name, path in ENVIRONMENT.items()}
