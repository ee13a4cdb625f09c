"""What a user of mitmproxy would write to allow what the benchmark asks for, and nothing else. Bodies stream, as at our door."""

from mitmproxy import http


def requestheaders(flow: http.HTTPFlow) -> None:
    if flow.request.pretty_host == "localhost" and flow.request.method == "GET":
        flow.request.stream = True
    else:
        flow.response = http.Response.make(403)


def responseheaders(flow: http.HTTPFlow) -> None:
    flow.response.stream = True
