"""What an image says about its program."""

import msgspec
import pytest

from supervisor.core.formats.docker_image import ImageProgram, parse_image_program


def test_program_of_an_image() -> None:
    config = {
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["serve"], "Env": ["PATH=/bin"], "WorkingDir": "/work", "User": "web",
        "StopSignal": "SIGQUIT", "ExposedPorts": {"443/tcp": {}, "53/udp": {}, "80/tcp": {}},
    }  # fmt: skip
    assert parse_image_program({"Config": config}) == ImageProgram(
        entrypoint=("/bin/sh", "-c"),
        command=("serve",),
        variables=("PATH=/bin",),
        folder="/work",
        user="web",
        stop_signal=3,
        ports=(80, 443),
    )


@pytest.mark.parametrize("answer", [{}, {"Config": None}, {"Config": {"Cmd": None, "WorkingDir": ""}}])
def test_image_without_a_program(answer: object) -> None:
    assert parse_image_program(answer) == ImageProgram()


def test_other_answer_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        parse_image_program({"Config": {"Cmd": "serve"}})
