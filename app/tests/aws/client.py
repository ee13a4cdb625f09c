"""What an agent's program does with AWS: the SDK as it is shipped, with the keys it finds in its environment."""

import io
import os
import sys

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

session = botocore.session.get_session()
path_style = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0})
s3 = session.create_client("s3", "eu-central-1", endpoint_url="https://s3.selvedge.test", config=path_style)
dynamodb = session.create_client("dynamodb", "eu-central-1", endpoint_url="https://dynamodb.selvedge.test",
                                 config=Config(retries={"max_attempts": 0}),
                                 aws_access_key_id=os.environ["TABLE_KEY_ID"], aws_secret_access_key="anything")


def said(what, act):
    try:
        print(what, act(), flush=True)
    except ClientError as error:
        print(what, "refused", error.response["Error"]["Code"], error.response.get("code", ""), str(error)[:200], flush=True)
    except BotoCoreError as error:
        print(what, "failed", type(error).__name__, flush=True)


key = "notes/a b/ü+c=d(1)"
said("put", lambda: s3.put_object(Bucket="acme", Key=key, Body=b"hello", ContentType="text/plain")["ETag"])
said("get", lambda: s3.get_object(Bucket="acme", Key=key)["Body"].read())
said("range", lambda: s3.get_object(Bucket="acme", Key=key, Range="bytes=1-3")["Body"].read())
said("list", lambda: [found["Key"] for found in s3.list_objects_v2(Bucket="acme", Prefix="notes/a b").get("Contents", [])])
# A stream, which the SDK sends in chunks of its own with a checksum behind them.
said("stream", lambda: s3.put_object(Bucket="acme", Key="notes/big", Body=io.BytesIO(b"x" * 3_000_000))["ETag"])
said("tables", lambda: dynamodb.list_tables()["TableNames"])

# Keys that somebody left in the repository.
stolen = session.create_client("s3", "eu-central-1", endpoint_url="https://s3.selvedge.test", config=path_style,
                               aws_access_key_id="AKIASOMEBODYELSE0001", aws_secret_access_key="stolen")
said("stolen", lambda: stolen.put_object(Bucket="acme", Key="notes/out", Body=b"out")["ETag"])
url = stolen.generate_presigned_url("get_object", Params={"Bucket": "acme", "Key": "notes/big"})
os.system(f"curl -sS '{url}'")
print(flush=True)
said("copy", lambda: s3.copy_object(Bucket="acme", Key="notes/copy", CopySource="acme/secrets"))
said("elsewhere", lambda: s3.get_object(Bucket="other", Key="x"))
sys.exit(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
