"""Bedrock's Converse and ConverseStream: content as typed blocks, streamed block by block in AWS's binary events."""

from gateway.dialects import Dialect
from gateway.dialects.bedrock.read_blocks import NAME
from gateway.dialects.bedrock.read_request import model_in, read_conversation, read_request
from gateway.dialects.bedrock.read_response import read_response
from gateway.dialects.bedrock.read_stream import ConverseReader

__all__ = ["CONVERSE", "model_in"]

CONVERSE = Dialect(
    name=NAME,
    read_request=read_request,
    read_response=read_response,
    stream_reader=ConverseReader,
    read_conversation=read_conversation,
)
