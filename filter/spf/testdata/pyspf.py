# Oracle for the differential tests: reads one JSON object a line and answers
# with the result of the Debian package python3-spf.
#   {"ip":..,"helo":..,"sender":..,"zone":{"name/TYPE":[value,..]},"fail":["name/TYPE",..]}
import json, sys
import spf

for line in sys.stdin:
    req = json.loads(line)
    zone, fail = req["zone"], set(req["fail"] or [])

    def lookup(name, qtype, strict=True, timeout=20):
        key = name.lower().rstrip(".") + "/" + qtype
        if key in fail:
            raise spf.TempError("DNS says so")
        out = []
        for value in zone.get(key, []):
            if qtype == "TXT":
                value = [value.encode()]
            elif qtype == "MX":
                value = (10, value)
            out.append(((name, qtype), value))
        return out

    spf.DNSLookup = lookup
    print(json.dumps(spf.check2(i=req["ip"], s=req["sender"], h=req["helo"], querytime=0)[0]), flush=True)
