# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""What the VLM captioner itself costs: sheets, requests and kept answers, against a server that needs a fixed time.

    python benchmarks/bench_vlm_captioner.py [--root=DATASET] [--delay=1.0] [--concurrency=8]

The server is a thread on 127.0.0.1 that waits `delay` seconds and returns the kinematic captions, so the figures are the
captioner's own and say nothing about any model. Printed: seconds a request takes to build (decode, draw, encode), the
run against the server beside the best possible (`requests * delay / concurrency`), and a second run, which asks nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lerobot_wallwm.language.config import VlmConfig
from lerobot_wallwm.processors.caption.captioner import EventCaptioner, number_events
from lerobot_wallwm.processors.caption.prompt import PromptBuilder
from lerobot_wallwm.processors.caption.requests import plan_requests
from lerobot_wallwm.processors.caption.vlm_captioner import VlmCaptioner
from lerobot_wallwm.processors.motion.kinematics import KinematicsConfig
from lerobot_wallwm.processors.segment.segmenter import EventSegmenter
from lerobot_wallwm.processors.source.episodes import SourceDataset

DEMO = Path(__file__).parents[1] / "examples" / "so101_sim" / "data" / "so101_pick_place"


def make_server(delay: float) -> ThreadingHTTPServer:
    """A server that answers every request with the kinematic captions, `delay` seconds later."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            words = next(part["text"] for part in body["messages"][1]["content"] if part["type"] == "text")
            facts = json.loads(re.search(r"<data>\n(.*)\n</data>", words)[1])["events"]
            answer = json.dumps({"captions": {f["id"]: f["kinematic_caption"] for f in facts}})
            usage = {"prompt_tokens": 0, "completion_tokens": 0}
            reply = json.dumps({"choices": [{"message": {"content": answer}}], "usage": usage}).encode()
            time.sleep(delay)
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=DEMO)
    parser.add_argument("--delay", type=float, default=1.0)
    parser.add_argument("--concurrency", type=int, default=8)
    args = parser.parse_args()
    source = SourceDataset.open(args.root)
    segmenter, captioner = EventSegmenter(), EventCaptioner()
    events = number_events([captioner(episode, segmenter(episode)) for episode in source])
    server = make_server(args.delay)
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    config = VlmConfig(base_url=url, model="echo", concurrency=args.concurrency)

    position = {episode: i for i, episode in enumerate(source.episode_indices)}
    build = PromptBuilder(source, position, config, KinematicsConfig())
    requests = []
    for episode in source.episode_indices:
        own = [event for event in events if event.episode_index == episode]
        requests += plan_requests(own, config.max_spans, config.max_frames)
    started = time.perf_counter()
    size = sum(len(build(r).messages[1]["content"][0]["image_url"]["url"]) for r in requests)
    built = time.perf_counter() - started
    print(f"{len(source)} episodes, {len(events)} events, {len(requests)} requests")
    print(f"build       {built / len(requests):.3f} s a request, {size / len(requests) / 1e3:.0f} kB a sheet")

    with tempfile.TemporaryDirectory() as folder:
        for name in ("first run", "second run"):
            started = time.perf_counter()
            report = VlmCaptioner(config, folder)(source, events).report
            seconds = time.perf_counter() - started
            ideal = report["attempts"] * args.delay / args.concurrency
            print(
                f"{name:<12}{seconds:.2f} s, {report['attempts']} requests sent (the server alone: {ideal:.2f} s), "
                f"{report['events_vlm']} captions, {report['requests_kept']} answers kept from before"
            )
    server.shutdown()


if __name__ == "__main__":
    main()
