"""A strict stand-in for STS, S3 and DynamoDB, as far as the tests go, written from their published descriptions.

It trusts an issuer by its published keys, verifies every signature by itself, counts sessions by its own clock, and refuses what
the services refuse. Speaks HTTP in clear text on loopback; the door and the courier add TLS. Prints its port.
"""

import base64
import datetime
import hashlib
import hmac
import json
import sys
import threading
import urllib.parse
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

import jwt

JWKS, ISSUER = sys.argv[1], "https://selvedge.internal"
AUDIENCE, REGION = "sts.amazonaws.com", "eu-central-1"
ROLE = "arn:aws:iam::123456789012:role/factory"
SUBJECT = "spiffe://selvedge.internal/run/r-"
lock = threading.Lock()
sessions = {}  # by access key id
objects = {}
seen = []  # what each request to a service came to
mood = {"sts": None}


def now():
    return datetime.datetime.now(datetime.timezone.utc)


class Refused(Exception):
    def __init__(self, status, code, message=""):
        self.status, self.code, self.message = status, code, message


def trust(token):
    try:
        kid = jwt.get_unverified_header(token)["kid"]
        keys = {key["kid"]: jwt.PyJWK(key) for key in json.load(open(JWKS))["keys"]}
        claims = jwt.decode(token, keys[kid].key, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER,
                            options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"]})
    except jwt.ExpiredSignatureError:
        raise Refused(400, "ExpiredTokenException")
    except (jwt.PyJWTError, KeyError):
        raise Refused(400, "InvalidIdentityToken")
    if not claims["sub"].startswith(SUBJECT) or not claims["sub"].endswith("/agent/caller"):
        raise Refused(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")


def assume(form):
    asked = dict(form)
    if len(asked) != len(form) or asked.get("Action") != "AssumeRoleWithWebIdentity" or asked.get("Version") != "2011-06-15":
        raise Refused(400, "InvalidAction")
    seconds = int(asked.get("DurationSeconds", "3600"))
    if not 900 <= seconds <= 3600:
        raise Refused(400, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration")
    trust(asked.get("WebIdentityToken", ""))
    if asked.get("RoleArn") != ROLE:
        raise Refused(403, "AccessDenied")
    if "Policy" in asked:
        try:
            if json.loads(asked["Policy"])["Version"] != "2012-10-17":
                raise ValueError
        except (ValueError, KeyError):
            raise Refused(400, "MalformedPolicyDocument")
    with lock:
        number = len(sessions) + 1
        made = {
            "id": f"ASIACANARY{number:010}",
            "secret": f"canary/secret+of/session/{number:015}",
            "token": f"canary/token/of/session/{number:040}==",
            "dies": now() + datetime.timedelta(seconds=seconds),
            "name": asked["RoleSessionName"],
            "policy": asked.get("Policy"),
        }
        sessions[made["id"]] = made
    expiration = made["dies"].strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <SubjectFromWebIdentityToken>{SUBJECT}</SubjectFromWebIdentityToken>
    <Audience>{AUDIENCE}</Audience>
    <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/factory/{made["name"]}</Arn>
      <AssumedRoleId>AROACLKWSDQRAOEXAMPLE:{made["name"]}</AssumedRoleId></AssumedRoleUser>
    <Credentials>
      <SessionToken>{made["token"]}</SessionToken>
      <SecretAccessKey>{made["secret"]}</SecretAccessKey>
      <Expiration>{expiration}</Expiration>
      <AccessKeyId>{made["id"]}</AccessKeyId>
    </Credentials>
    <Provider>{ISSUER}</Provider>
  </AssumeRoleWithWebIdentityResult>
  <ResponseMetadata><RequestId>ad4156e9-bce1-11e2-82e6-6b6efEXAMPLE</RequestId></ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>"""


def quote(text, safe):
    return urllib.parse.quote(text, safe=safe + "-._~")


def verify(method, target, headers, body, service):
    """The session that signed this request, by the published algorithm."""
    fields = {}
    for name, value in headers:
        fields.setdefault(name.lower(), []).append(" ".join(value.split()))
    if len(fields.get("authorization", [])) != 1:
        raise Refused(403, "AccessDenied", "no signature")
    scheme, _, rest = fields["authorization"][0].partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    if scheme != "AWS4-HMAC-SHA256" or set(parts) != {"Credential", "SignedHeaders", "Signature"}:
        raise Refused(400, "AuthorizationHeaderMalformed")
    identifier, day, region, of, last = parts["Credential"].split("/")
    session = sessions.get(identifier)
    if session is None:
        raise Refused(403, "InvalidAccessKeyId")
    if (region, of, last) != (REGION, service, "aws4_request"):
        raise Refused(400, "AuthorizationHeaderMalformed", f"{region}/{of}")
    if fields.get("x-amz-security-token") != [session["token"]]:
        raise Refused(400, "InvalidToken")
    if session["dies"] <= now():
        raise Refused(400, "ExpiredToken")
    stamp = fields["x-amz-date"][0]
    moment = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    if abs((now() - moment).total_seconds()) > 900 or not stamp.startswith(day):
        raise Refused(403, "RequestTimeTooSkewed")
    signed = parts["SignedHeaders"].split(";")
    must = [name for name in fields if name.startswith("x-amz-") or name in ("host", "content-type")]
    if signed != sorted(signed) or not set(must) <= set(signed):
        raise Refused(403, "AccessDenied", f"headers present in the request are not signed: {must} {signed}")
    payload = fields["x-amz-content-sha256"][0]
    if payload != hashlib.sha256(body).hexdigest():
        raise Refused(400, "XAmzContentSHA256Mismatch", payload)
    path, _, query = target.partition("?")
    canonical_path = quote(urllib.parse.unquote(path), "/") if service == "s3" else quote(path, "/")
    pairs = [(pair.partition("=")[0], pair.partition("=")[2]) for pair in query.split("&") if pair]
    pairs = sorted((quote(urllib.parse.unquote(n), ""), quote(urllib.parse.unquote(v), "")) for n, v in pairs)
    canonical = "\n".join([
        method, canonical_path, "&".join(f"{n}={v}" for n, v in pairs),
        *[f"{name}:{','.join(fields[name])}" for name in signed], "", parts["SignedHeaders"], payload])
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + session["secret"].encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), parts["Signature"]):
        # As S3 says it, with what it thinks was signed.
        raise Refused(403, "SignatureDoesNotMatch", canonical)
    return session


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", fields=()):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        host = self.headers["Host"].split(".")[0]
        if host == "stand-in":
            return self.control(body)
        service = {"sts": "sts", "s3": "s3", "dynamodb": "dynamodb"}[host]
        told = {"service": service, "method": self.command, "target": self.path, "came_to": "done"}
        try:
            if service == "sts":
                return self.sts(body)
            told["session"] = verify(self.command, self.path, self.headers.items(), body, service)["name"]
            return self.s3(body) if service == "s3" else self.dynamodb(body)
        except Refused as refused:
            told["came_to"] = refused.code
            error = f"<Code>{refused.code}</Code><Message>{escape(refused.message)}</Message>"
            if service == "sts":
                error = f'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>{error}</Error></ErrorResponse>'
            else:
                error = f"<Error>{error}</Error>"
            return self.answer(refused.status, error.encode(), [("Content-Type", "text/xml")])
        finally:
            with lock:
                seen.append(told)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

    def control(self, body):
        if self.command == "POST":
            mood.update(json.loads(body))
        with lock:
            live = sum(session["dies"] > now() for session in sessions.values())
            names = [session["name"] for session in sessions.values()]
            policies = [session["policy"] for session in sessions.values()]
            stored = {key: value.decode("latin-1") for key, value in objects.items()}
        state = {"live": live, "names": names, "policies": policies, "seen": seen, "objects": stored}
        self.answer(200, json.dumps(state).encode())

    def sts(self, body):
        if (self.command, self.path) != ("POST", "/") or self.headers["Content-Type"] != "application/x-www-form-urlencoded":
            raise Refused(400, "InvalidAction")
        if mood["sts"] is not None:
            raise Refused(mood["sts"][0], mood["sts"][1])
        made = assume(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))
        self.answer(200, made.encode(), [("Content-Type", "text/xml")])

    def s3(self, body):
        path, _, query = self.path.partition("?")
        bucket, _, key = urllib.parse.unquote(path)[1:].partition("/")
        if bucket != "acme":
            raise Refused(404, "NoSuchBucket")
        if "aws-chunked" in self.headers.get("Content-Encoding", "") or "Transfer-Encoding" in self.headers:
            raise Refused(501, "NotImplemented")
        if self.command == "PUT" and key:
            crc = self.headers.get("x-amz-checksum-crc32")
            if crc is not None and base64.b64decode(crc) != zlib.crc32(body).to_bytes(4, "big"):
                raise Refused(400, "BadDigest")
            objects[key] = body
            return self.answer(200, b"", [("ETag", f'"{hashlib.md5(body).hexdigest()}"')])
        if self.command == "GET" and key:
            if key not in objects:
                raise Refused(404, "NoSuchKey")
            span, whole = self.headers.get("Range"), objects[key]
            if span is None:
                return self.answer(200, whole)
            first, last = (int(at) for at in span.removeprefix("bytes=").split("-"))
            return self.answer(206, whole[first:last + 1], [("Content-Range", f"bytes {first}-{last}/{len(whole)}")])
        asked = dict(urllib.parse.parse_qsl(query))
        if self.command == "GET" and asked.get("list-type") == "2":
            found = [key for key in sorted(objects) if key.startswith(asked.get("prefix", ""))]
            contents = "".join(f"<Contents><Key>{escape(key)}</Key><Size>{len(objects[key])}</Size></Contents>" for key in found)
            return self.answer(200, f"<ListBucketResult><KeyCount>{len(found)}</KeyCount>{contents}</ListBucketResult>".encode())
        raise Refused(405, "MethodNotAllowed")

    def dynamodb(self, body):
        if (self.command, self.headers.get("X-Amz-Target")) != ("POST", "DynamoDB_20120810.ListTables"):
            raise Refused(400, "UnknownOperationException")
        said = json.dumps({"TableNames": ["orders"]}).encode()
        self.answer(200, said, [("Content-Type", "application/x-amz-json-1.0"), ("x-amz-crc32", str(zlib.crc32(said)))])


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
