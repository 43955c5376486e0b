"""OpenAI's Responses API."""

from msgspec import structs

from gateway.dialects import Dialect
from gateway.dialects.endpoint import Endpoint, server_sent
from gateway.dialects.openai_responses.read_parts import NAME
from gateway.dialects.openai_responses.read_request import read_conversation, read_request
from gateway.dialects.openai_responses.read_response import read_response
from gateway.dialects.openai_responses.read_stream import ResponsesStreamReader
from gateway.dialects.openai_responses.write_request import write_request
from gateway.dialects.openai_responses.write_response import write_error, write_response
from gateway.dialects.openai_responses.write_stream import ResponsesStreamWriter
from gateway.dialects.shared.model_list import write_models
from gateway.dialects.shared.usage import counting
from gateway.dialects.shared.writer import Writer
from gateway.semconv import COMPACT

RESPONSES = Dialect(
    name=NAME,
    read_request=read_request,
    read_response=read_response,
    stream_reader=ResponsesStreamReader,
    read_conversation=read_conversation,
)


COMPACTION = structs.replace(
    RESPONSES, name="openai-responses-compact", part_of=NAME, operation=COMPACT, trace_only=True, read_conversation=None
)


INPUT_TOKENS = counting(RESPONSES, "openai-responses-input-tokens", "input_tokens")


RESPONSES_WRITER = Writer(
    name=NAME, request=write_request, response=write_response, stream=ResponsesStreamWriter, error=write_error
)


ENDPOINT = Endpoint(
    name=NAME,
    dialect=NAME,
    writer=RESPONSES_WRITER,
    provider="openai",
    operations={
        ("responses",): RESPONSES,
        ("responses", "compact"): COMPACTION,
        ("responses", "input_tokens"): INPUT_TOKENS,
    },
    below_v1=True,
    base_path="/v1",
    error=write_error,
    error_event=server_sent(write_error),
    models_path="/models",
    write_models=write_models,
    stores_conversations=True,
)
