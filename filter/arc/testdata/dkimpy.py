# Oracle for the differential test: reads one JSON object a line and answers
# with one, using the Debian packages python3-dkim and python3-authres.
#   {"op":"verify","message":BASE64,"zone":{NAME:TXT}} -> {"result":"pass"}
#   {"op":"sign","message":BASE64,"id":HOST,"key":BASE64} -> {"fields":BASE64}
import base64, json, logging, sys
import dkim

logging.disable(logging.CRITICAL)

def verify(req):
    zone = {k.rstrip("."): v.encode() for k, v in req["zone"].items()}

    def lookup(name, timeout=5):
        if isinstance(name, bytes):
            name = name.decode()
        return zone.get(name.rstrip(".").lower())

    try:
        cv, _, _ = dkim.ARC(base64.b64decode(req["message"])).verify(dnsfunc=lookup)
    except dkim.MessageFormatError:
        return {"result": "refused"}
    except Exception as e:
        return {"result": "crashed: %r" % e}
    # None is a chain that its last sealer has declared broken.
    return {"result": "fail" if cv is None else cv.decode()}

def sign(req):
    fields = dkim.arc_sign(
        base64.b64decode(req["message"]), b"rsa", b"example.org",
        base64.b64decode(req["key"]), req["id"].encode())
    return {"fields": base64.b64encode(b"".join(fields)).decode()}

for line in sys.stdin:
    req = json.loads(line)
    print(json.dumps({"verify": verify, "sign": sign}[req["op"]](req)), flush=True)
