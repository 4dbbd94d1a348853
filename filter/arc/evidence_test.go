package arc

import "testing"

func TestVouched(t *testing.T) {
	for body, want := range map[string]string{
		" i=1; mx.example; spf=pass smtp.mailfrom=a@x.example;\r\n dmarc=pass header.from=Example.org": "example.org",
		" i=1; mx.example;\r\n\tdmarc=pass (p=NONE sp=NONE dis=NONE) header.from=example.org":          "example.org",
		" i=1; mx.example 1; dmarc=pass action=none header.from=\"example.org\"; arc=none (0)":         "example.org",
		" i=1; mx.example; DMARC=Pass header.from=bücher.example":                                      "xn--bcher-kva.example",
		" i=1; mx.example; dmarc=fail header.from=example.org":                                         "",
		" i=1; mx.example; dmarc=pass":                                                                 "",
		" i=1; mx.example; dmarc=pass header.from=a.example; dmarc=fail header.from=b.example":         "",
		" i=1; mx.example; dmarc=pass header.from=a.example; dmarc=pass header.from=b.example":         "",
		" i=1; mx.example; spf=fail reason=\"; dmarc=pass header.from=example.org\"":                   "",
		" i=1; mx.example; spf=fail (; dmarc=pass header.from=example.org)":                            "",
		" i=1; mx.example; spf=fail (\\) ; dmarc=pass header.from=example.org)":                        "",
		" i=1; mx.example; (; dmarc=pass header.from=example.org":                                      "",
		" i=1; mx.example; xdmarc=pass header.from=example.org":                                        "",
		" i=1": "",
		"":     "",
	} {
		if got := vouched([]byte(body)); got != want {
			t.Errorf("%q: %q, want %q", body, got, want)
		}
	}
}
