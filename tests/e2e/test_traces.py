"""One trace from the client's request to the frame on its socket, across every service."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from coach_common import tracing
from coach_embedded.api_client import ApiClient
from coach_embedded.config import EmbeddedSettings
from coach_embedded.topology import run_system

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PHONE_SPAN_ID = "b7ad6b7169203331"
TRANSCRIPT = (
    "Last year our shop lost orders at night. I found a race in the queue, wrote a test for it, "
    "fixed it in two days, and no order has been lost since."
)


@pytest.fixture
async def exporter() -> AsyncIterator[InMemorySpanExporter]:
    """Collects the spans of this process."""
    collected = InMemorySpanExporter()
    tracing.use_processor(SimpleSpanProcessor(collected))
    yield collected
    tracing.shutdown()


async def test_one_trace_leads_from_the_request_to_the_push(
    exporter: InMemorySpanExporter, tmp_path: Path
) -> None:
    settings = EmbeddedSettings.load(host="127.0.0.1", port=0)
    async with run_system(settings, tmp_path) as system, ApiClient(system.url) as client:
        await client.register("alice@example.com", "a long test password")
        session_id = await client.open_session("Work", "Tell me about a hard problem.")
        async with client.socket() as socket, httpx.AsyncClient(base_url=system.url) as http:
            completed = await http.post(
                f"/sessions/{session_id}/complete",
                json={"duration_seconds": 30, "transcript": TRANSCRIPT},
                headers={
                    "authorization": f"Bearer {client.token}",
                    "traceparent": f"00-{TRACE_ID}-{PHONE_SPAN_ID}-01",
                },
            )
            await socket.wait_for("feedback", seconds=60, status="ready")

    assert completed.status_code == 200
    spans = {
        span.context.span_id: span
        for span in exporter.get_finished_spans()
        if f"{span.context.trace_id:032x}" == TRACE_ID
    }
    paths = [path_to(span, spans) for span in spans.values() if span.name == "push feedback"]
    assert [
        "gateway: POST /sessions/{id}/complete",
        "sessions: POST /sessions/{session_id}/complete",
        "sessions: create session.completed",
        "ai: process session.completed",
        "ai: job feedback",
        "ai: create feedback.generated",
        "sessions: process feedback.generated",
        "sessions: create session.judged",
        "gateway: process session.judged",
        "gateway: push feedback",
    ] in paths
    assert {
        "send session.completed",
        "send feedback.generated",
        "send session.judged",
    } <= {span.name for span in spans.values()}


def path_to(span: ReadableSpan, spans: Mapping[int, ReadableSpan]) -> list[str]:
    """Return the service and name of each span from the phone's to this one."""
    path: list[str] = []
    while True:
        path.insert(0, f"{span.resource.attributes['service.name']}: {span.name}")
        assert span.parent is not None
        if f"{span.parent.span_id:016x}" == PHONE_SPAN_ID:
            return path
        span = spans[span.parent.span_id]
