"""The Docker edge against the fake: the contract, and the ways in which a daemon can fail."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from supervisor.core.container import ContainerId
from supervisor.edges.docker import Docker
from supervisor.errors import Permanent, Transient, VtapdError

from .docker import FakeDocker
from .docker_contract import DockerContract, EventRecorder, following

pytestmark = pytest.mark.anyio
QUICK_S = 0.05


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[FakeDocker]:
    async with FakeDocker(tmp_path / "docker.sock") as fake:
        yield fake


@pytest.fixture
async def docker(engine: FakeDocker) -> AsyncIterator[Docker]:
    docker = Docker(engine.host, 5.0)
    yield docker
    await docker.close()


async def ask_everything(docker: Docker, container_id: ContainerId) -> list[type[VtapdError]]:
    """Send every request once, and return the types of the errors."""
    errors: list[type[VtapdError]] = []
    for ask in (
        docker.engine,
        docker.list_running,
        lambda: docker.inspect(container_id),
        lambda: docker.follow(0, print),
    ):
        try:
            await ask()
        except VtapdError as error:
            errors.append(type(error))
    return errors


class TestFakeDocker(DockerContract):
    """The fake fulfils the contract of a real dockerd."""


class TestLog:
    async def test_lines_that_are_not_utf_8_are_left_out(self, engine: FakeDocker, docker: Docker) -> None:
        made = await engine.run({}, "kek")
        engine.containers[made].log = b"caf\xc3\xa9\n\xff\xfe\nhalted\n"
        assert await docker.log(ContainerId(made), 0) == "café\n\nhalted\n".encode()

    @pytest.mark.parametrize("garbage", [b"{}", b"[]", b'{"Config": {}}', b"<html>"])
    async def test_malformed_container_makes_the_log_transient(
        self, engine: FakeDocker, docker: Docker, garbage: bytes
    ) -> None:
        made = await engine.run({}, "kek")
        engine.answers["inspect"] = garbage
        with pytest.raises(Transient):
            await docker.log(ContainerId(made), 0)

    async def test_log_driver_without_a_log_is_reported(self, engine: FakeDocker, docker: Docker) -> None:
        made = await engine.run({}, "kek")
        engine.failures["log"] = 501
        with pytest.raises(Transient, match=r"Docker refused \(logs\)"):
            await docker.log(ContainerId(made), 0)


class TestFailingRequests:
    async def test_missing_docker_is_transient_with_a_remedy(self, tmp_path: Path) -> None:
        docker = Docker(f"unix://{tmp_path}/none.sock", 5.0)
        assert await ask_everything(docker, ContainerId("a")) == [Transient] * 4
        with pytest.raises(Transient, match=r"is Docker running.*none\.sock"):
            await docker.engine()
        await docker.close()

    async def test_docker_that_came_back_answers_again(self, engine: FakeDocker, docker: Docker) -> None:
        await docker.engine()
        await engine.vanish()
        assert await ask_everything(docker, ContainerId("a")) == [Transient] * 4
        await engine.appear()
        assert (await docker.engine()).version == "20.10.24-fake"

    async def test_slow_docker_is_reported_after_the_timeout(self, engine: FakeDocker) -> None:
        docker = Docker(engine.host, QUICK_S)
        engine.delay_s = 20 * QUICK_S
        with pytest.raises(Transient, match=r"no answer within 0\.05 s"):
            await docker.list_running()
        await docker.close()

    @pytest.mark.parametrize(
        ("status", "kind"), [(500, Transient), (409, Transient), (401, Permanent), (403, Permanent)]
    )
    async def test_http_status_decides_between_transient_and_permanent(
        self, engine: FakeDocker, docker: Docker, status: int, kind: type[VtapdError]
    ) -> None:
        await docker.engine()
        engine.failures = dict.fromkeys(("events", "list", "inspect"), status)
        errors = await ask_everything(docker, ContainerId("a"))
        assert errors == [kind, kind, Transient], "an event stream is not tried again"
        with pytest.raises(kind, match=r"Docker refused \(list\): list fails"):
            await docker.list_running()

    async def test_docker_that_does_not_run_is_named_without_the_librarys_words(self, tmp_path: Path) -> None:
        docker = Docker(f"unix://{tmp_path}/nothing.sock", 5.0)
        try:
            with pytest.raises(Transient) as raised:
                await docker.engine()
        finally:
            await docker.close()
        assert raised.value.message == "cannot ask Docker (info): No such file or directory"

    async def test_incomplete_container_is_transient(self, engine: FakeDocker, docker: Docker) -> None:
        engine.answers["inspect"] = b'{"Id": "a", "State": {}}'
        with pytest.raises(Transient, match="is not understood"):
            await docker.inspect(ContainerId("a"))

    async def test_environment_is_split_into_variables(self, engine: FakeDocker, docker: Docker) -> None:
        config = b'"Env": ["PATH=/bin", "K=a=b c", "EMPTY=", "BARE"]'
        engine.answers["inspect"] = (
            b'{"Id": "a", "Name": "/kek", "State": {}, "Config": {' + config + b'}, "HostConfig": {}}'
        )
        container = await docker.inspect(ContainerId("a"))
        assert container is not None
        assert container.env == (("PATH", "/bin"), ("K", "a=b c"), ("EMPTY", ""), ("BARE", ""))

    async def test_answer_of_another_type_is_transient(self, engine: FakeDocker, docker: Docker) -> None:
        engine.answers["inspect"] = b'["Id"]'
        with pytest.raises(Transient):
            await docker.inspect(ContainerId("a"))

    async def test_answer_that_is_not_json_is_transient(self, engine: FakeDocker, docker: Docker) -> None:
        engine.answers = {"list": b"<html>proxy", "inspect": b"{"}
        with pytest.raises(Transient):
            await docker.list_running()
        with pytest.raises(Transient):
            await docker.inspect(ContainerId("a"))

    @pytest.mark.parametrize(
        ("written", "number"), [(None, 15), ("", 15), ("SIGQUIT", 3), ("quit", 3), ("9", 9), ("SIGNONSENSE", 15)]
    )
    async def test_stop_signal_is_parsed(
        self, engine: FakeDocker, docker: Docker, written: str | None, number: int
    ) -> None:
        made = await engine.run({}, "kek")
        engine.containers[made].stop_signal = written
        container = await docker.inspect(ContainerId(made))
        assert container is not None
        assert container.stop_signal == number


class TestEvents:
    async def test_cut_event_stream_is_transient(self, engine: FakeDocker, docker: Docker) -> None:
        with pytest.raises(Transient, match="event stream"):
            await self.follow_while(engine, docker, engine.cut_streams)

    async def test_events_can_be_followed_again_after_docker_vanished(self, engine: FakeDocker, docker: Docker) -> None:
        with pytest.raises(Transient, match="event stream"):
            await self.follow_while(engine, docker, engine.vanish)
        await engine.appear()
        made = await engine.run({}, "kek")
        async with following(docker, made, 0) as recorder:
            await recorder.wait_for("start")

    async def test_events_missed_while_the_stream_was_cut_are_received_later(
        self, engine: FakeDocker, docker: Docker
    ) -> None:
        made = await engine.run({}, "kek")
        with pytest.raises(Transient):
            await self.follow_while(engine, docker, engine.cut_streams)
        await engine.kill(made)
        async with following(docker, made, 0) as recorder:
            await recorder.wait_for("start", "kill", "die")

    async def test_repeated_and_late_events_are_passed_on(self, engine: FakeDocker, docker: Docker) -> None:
        async with following(docker, "a", 0) as recorder:
            await engine.await_subscriber()
            start = await engine.emit("start", "a")
            await engine.emit("die", "a")
            await engine.send(start)
            await engine.send(start)
            events = await recorder.wait_for("start", "die", "start", "start")
        assert len({event.time_ns for event in events}) == 2

    async def test_fragmented_event_is_one_event(self, engine: FakeDocker, docker: Docker) -> None:
        whole = b'{"Type":"container","Action":"start","Actor":{"ID":"a"},"time":1,"timeNano":1000000007}\n'
        async with following(docker, "a", 0) as recorder:
            await engine.await_subscriber()
            for byte in whole:
                await engine.write(bytes([byte]))
            await engine.write(whole + whole)
            events = await recorder.wait_for("start", "start", "start")
        assert [event.time_ns for event in events] == [1_000_000_007] * 3

    @pytest.mark.parametrize(
        "event",
        [
            {},
            {"Type": "container"},
            {"Type": "container", "Action": "start", "Actor": {}},
            {"Type": "container", "Action": ["start"], "Actor": {"ID": "a"}},
            {"Type": "container", "Action": "start", "Actor": "a"},
            {"Type": "network", "Action": "connect", "Actor": {"ID": "net"}},
            {"Type": "container", "Action": "start", "Actor": {"ID": "a"}, "timeNano": "soon"},
        ],
    )
    async def test_malformed_event_is_skipped(
        self, engine: FakeDocker, docker: Docker, event: dict[str, object]
    ) -> None:
        async with following(docker, "a", 0) as recorder:
            await engine.await_subscriber()
            await engine.send(event)
            await engine.emit("die", "a")
            events = await recorder.wait_for("die")
        assert [each.action for each in events] == ["die"]

    @pytest.mark.parametrize("garbage", [b"<html>\n", b'{"Type":\n', b"\xff\xfe\n", b"]\n"])
    async def test_garbage_in_the_event_stream_is_transient(
        self, engine: FakeDocker, docker: Docker, garbage: bytes
    ) -> None:
        with pytest.raises(Transient, match="event stream"):
            await self.follow_while(engine, docker, lambda: engine.write(garbage))

    @pytest.mark.parametrize("event", [7, None, {"time": "noon"}, {"time": 1e300}])
    async def test_json_that_is_no_event_is_skipped_or_transient(
        self, engine: FakeDocker, docker: Docker, event: object
    ) -> None:
        async def send_and_cut() -> None:
            await engine.send(event)
            await engine.emit("die", "a")
            engine.cut_streams()

        with pytest.raises(Transient, match="event stream"):
            await self.follow_while(engine, docker, send_and_cut)

    async def test_network_event_belongs_to_its_container(self, engine: FakeDocker, docker: Docker) -> None:
        attributes = {"container": "a", "name": "bridge"}
        async with following(docker, "a", 0) as recorder:
            await engine.await_subscriber()
            await engine.send(
                {"Type": "network", "Action": "connect", "Actor": {"ID": "net", "Attributes": attributes}}
            )
            (event,) = await recorder.wait_for("connect")
        assert event.container == "a"
        assert event.time_ns > 10**18

    @pytest.mark.parametrize("signal", ["9" * 5000, "1000", "-9", "KILL", "\u0663"])
    async def test_signal_label_of_an_image_is_not_taken_for_a_signal(
        self, engine: FakeDocker, docker: Docker, signal: str
    ) -> None:
        """Docker puts the labels among the attributes of an event."""
        async with following(docker, "a", 0) as recorder:
            await engine.await_subscriber()
            await engine.emit("start", "a", signal=signal)
            await engine.emit("kill", "a", signal=signal)
            events = await recorder.wait_for("start", "kill")
        assert [event.signal for event in events] == [None, None]

    async def test_events_can_be_followed_again_after_a_cancel(self, engine: FakeDocker, docker: Docker) -> None:
        made = await engine.run({}, "kek")
        for _ in range(3):
            async with following(docker, made, 0) as recorder:
                await recorder.wait_for("start")

    async def follow_while(self, engine: FakeDocker, docker: Docker, act: object) -> None:
        """Follow, call `act` once the stream is followed, and raise what following raises."""
        assert callable(act)
        recorder = EventRecorder("a")

        async def act_once_followed() -> None:
            await engine.await_subscriber()
            if (result := act()) is not None:
                await result

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(act_once_followed)
            with anyio.fail_after(5):
                try:
                    await docker.follow(0, recorder.note)
                except Transient as error:
                    caught = error
        raise caught


class TestImageLabels:
    """The labels that a container inherits from its image; Docker does not report them."""

    async def labels_of_image(self, engine: FakeDocker, docker: Docker, labels: dict[str, str]) -> frozenset[str]:
        made = await engine.run(labels, "kek1")
        known = await docker.inspect(ContainerId(made))
        assert known is not None
        return known.image_labels

    async def test_labels_with_the_value_of_the_image_are_its_labels(self, engine: FakeDocker, docker: Docker) -> None:
        engine.image_labels = {"vtapd.kernel": "/k", "vtapd.memory": "1G", "other": "x"}
        labels = {"vtapd.kernel": "/k", "vtapd.memory": "32M", "vtapd.cpus": "2"}
        assert await self.labels_of_image(engine, docker, labels) == {"vtapd.kernel"}

    async def test_all_labels_count_as_the_images_if_it_was_removed(self, engine: FakeDocker, docker: Docker) -> None:
        engine.image_labels = None
        assert await self.labels_of_image(engine, docker, {"vtapd.kernel": "/k"}) == {"vtapd.kernel"}

    async def test_image_is_inspected_once(self, engine: FakeDocker, docker: Docker) -> None:
        made = [await engine.run({"vtapd.kernel": "/k"}, f"kek{number}") for number in range(5)]
        async with anyio.create_task_group() as tasks:
            for each in made:
                tasks.start_soon(docker.inspect, ContainerId(each))
        await self.labels_of_image(engine, docker, {"other": "x"})
        assert engine.requests.count("image") == 1

    async def test_docker_that_refuses_to_inspect_the_image_is_transient(
        self, engine: FakeDocker, docker: Docker
    ) -> None:
        engine.failures = {"image": 500}
        with pytest.raises(Transient, match=r"Docker refused \(image\)"):
            await self.labels_of_image(engine, docker, {"vtapd.kernel": "/k"})
