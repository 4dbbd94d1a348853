# Oracle for the differential tests: reads one JSON object a line and answers
# with one, using the Debian package python3-dkim.
#   {"op":"verify","message":BASE64,"zone":{NAME:TXT}}  -> {"pass":[true,...]}
#   {"op":"sign","message":BASE64,...}                  -> {"field":BASE64}
import base64, json, logging, sys
import dkim

logging.disable(logging.CRITICAL)

def verify(req):
    zone = {k.rstrip("."): v.encode() for k, v in req["zone"].items()}
    message = base64.b64decode(req["message"])

    def lookup(name, timeout=5):
        if isinstance(name, bytes):
            name = name.decode()
        return zone.get(name.rstrip(".").lower())

    out = []
    try:
        dkim.DKIM(message)
    except dkim.MessageFormatError:
        return {"refused": True}
    count = len([1 for n, _ in dkim.DKIM(message).headers if n.lower() == b"dkim-signature"])
    for i in range(count):
        try:
            out.append(bool(dkim.DKIM(message, logger=logging.getLogger("x")).verify(idx=i, dnsfunc=lookup)))
        except Exception:
            out.append(False)
    return {"pass": out}

def sign(req):
    canon = (req["header"].encode(), req["body"].encode())
    try:
        dkim.DKIM(base64.b64decode(req["message"]))
    except dkim.MessageFormatError:
        return {"refused": True}
    field = dkim.sign(
        base64.b64decode(req["message"]), req["selector"].encode(), req["domain"].encode(),
        base64.b64decode(req["key"]), canonicalize=canon,
        signature_algorithm=req["algorithm"].encode(), length=req["length"])
    return {"field": base64.b64encode(field).decode()}

for line in sys.stdin:
    req = json.loads(line)
    print(json.dumps({"verify": verify, "sign": sign}[req["op"]](req)), flush=True)
