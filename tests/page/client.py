"""The page without a browser: controls by name, and their events as the page sends them."""

import http.client
import json
import secrets
import urllib.parse
import urllib.request
from typing import Any


class Client:
    """An open page: the values of all controls, by the id of their element or their label."""

    def __init__(self, address: str, *, starts: bool = True) -> None:
        self.address, self._hash = address, secrets.token_hex(8)
        self.config = self._read("config")
        self._names: dict[int, str] = {}
        self.values: dict[str, Any] = {}
        for control in self.config["components"]:
            props = control["props"]
            name = props.get("elem_id") or props.get("label") or str(control["id"])
            number = sum(other.split(" of ")[0] == name for other in self.values)
            name = f"{name} of {number + 1}" if number else name
            self._names[control["id"]], self.values[name] = name, props.get("value")
        if starts:
            self.do("", "load")

    def do(self, name: str, event: str = "click", **about: Any) -> None:
        """Trigger an event of a control, and wait for its task."""
        self.finish(self.begin(name, event, **about))

    def begin(self, name: str, event: str = "click", **about: Any) -> dict[str, Any]:
        """Trigger an event; a queued task is awaited by `finish`."""
        (task,) = (
            task
            for task in self.config["dependencies"]
            if task["backend_fn"] and any(self._names.get(i, "") == name and e == event for i, e in task["targets"])
        )
        return self._start(task, **about)

    def _start(self, task: dict[str, Any], **about: Any) -> dict[str, Any]:
        values = [self.values[self._names[control]] for control in task["inputs"]]
        body = {"fn_index": task["id"], "data": values, "event_data": about, "session_hash": self._hash}
        if task["queue"] is False:
            self._show(task, self._read("gradio_api/run/predict", body))
        else:
            self._read("gradio_api/queue/join", body)
        return task

    def finish(self, task: dict[str, Any]) -> None:
        """Wait for a queued task and those that follow it, and show their results."""
        if task["queue"] is not False:
            url = f"{self.address}gradio_api/queue/data?session_hash={self._hash}"
            with urllib.request.urlopen(url, timeout=60) as lines:
                messages = [json.loads(line.removeprefix(b"data:")) for line in lines if line.strip()]
            (done,) = (message for message in messages if message["msg"] == "process_completed")
            assert done["success"], done
            self._show(task, done["output"])
        for following in self.config["dependencies"]:
            if following["trigger_after"] == task["id"] and following["backend_fn"]:
                self.finish(self._start(following))

    def upload(self, name: str, file: str, content: bytes) -> None:
        """Upload a file, and send its place as a control does."""
        disposition = f'Content-Disposition: form-data; name="files"; filename="{file}"'
        body = f"--edge\r\n{disposition}\r\n\r\n".encode() + content + b"\r\n--edge--\r\n"
        (place,) = self._read("gradio_api/upload", body, kind="multipart/form-data; boundary=edge")
        self.do(name, "upload", path=place)

    def leave(self) -> None:
        """Close the page, which the server notices by the closed connection."""
        where = http.client.HTTPConnection(urllib.parse.urlparse(self.address).netloc)
        where.request("GET", f"/gradio_api/heartbeat/{self._hash}")
        where.getresponse().readline()
        where.close()

    def _show(self, task: dict[str, Any], output: dict[str, Any]) -> None:
        for control, value in zip(task["outputs"], output["data"], strict=True):
            update = value if isinstance(value, dict) and value.get("__type__") == "update" else {"value": value}
            if "value" in update:
                self.values[self._names[control]] = update["value"]

    def _read(self, path: str, body: object = None, kind: str = "application/json") -> Any:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data=data, headers={"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
