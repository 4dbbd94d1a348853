package privacy

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"mailweir/mail"
)

// writer makes messages whose trace names one client in every place and
// spelling that it knows.
type writer struct {
	*rand.Rand
	addr netip.Addr
	name string
	hops int
}

func (w *writer) pick(list ...string) string { return list[w.IntN(len(list))] }

// spell writes the client's address.
func (w *writer) spell() string {
	a := w.addr
	if a.Is6() {
		full := a.StringExpanded()
		parts := strings.Split(full, ":")
		for i := range parts {
			parts[i] = strings.TrimLeft(parts[i], "0")
			if parts[i] == "" {
				parts[i] = "0"
			}
		}
		return w.pick(a.String(), full, strings.ToUpper(full), strings.Join(parts, ":"), "IPv6:"+a.String())
	}
	b := a.As4()
	return w.pick(a.String(),
		fmt.Sprintf("%03d.%03d.%03d.%03d", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("0x%02x.0x%02x.0x%02x.0x%02x", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("0x%02x%02x%02x%02x", b[0], b[1], b[2], b[3]),
		"::ffff:"+a.String(),
		fmt.Sprintf("::FFFF:%02X%02x:%02x%02x", b[0], b[1], b[2], b[3]),
		"IPv6:::ffff:"+a.String(),
		a.String()+":4711")
}

// again writes it where it stands behind other clauses, encoded words included.
func (w *writer) again() string {
	s := w.spell()
	switch w.IntN(5) {
	case 0:
		return "=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
	case 1:
		return "=?us-ascii?Q?" + strings.NewReplacer(".", "=2E", ":", "=3a").Replace(s) + "?="
	}
	return s
}

func (w *writer) received() string {
	w.hops++
	from := w.pick(
		"from "+w.name+" ("+w.name+" ["+w.spell()+"])",
		"from ["+w.spell()+"] (helo="+w.name+")",
		"from unknown (HELO "+w.name+") ("+w.spell()+")",
		"from x ("+w.spell()+")",
		"FROM\t["+w.spell()+"] (unknown ["+w.spell()+"])\r\n (Authenticated sender: "+w.name+")",
		"from by ("+w.name+" by ["+w.spell()+"])",
		"from =?utf-8?Q?"+strings.ReplaceAll(w.name, "-", "=2D")+"?= (["+w.spell()+"])",
	)
	by := w.pick(" by mx.example.net", "\r\n\tby mx.example.net (Postfix)", " by mx.example.net ([198.51.100.3])")
	with := w.pick("", " with ESMTP", " with ESMTP (client "+w.again()+")", "\r\n\tvia TCP (["+w.again()+"])", " with HTTP ("+w.name+" ["+w.again()+"])")
	return "Received: " + from + by + with + " id 4Xyz; Sat, 21 Nov 2026 10:00:00 +0000" + w.pick("", " (from "+w.again()+")") + "\r\n"
}

func (w *writer) clientField() string {
	return w.pick(
		"X-Originating-IP: ["+w.again()+"]",
		"x-forwarded-for: "+w.spell()+", "+w.spell(),
		"X-Vendor-IP:\r\n "+w.again(),
		"Received-SPF: pass (x: "+w.again()+" is fine) client-ip="+w.again()+"; helo="+w.name,
		"Authentication-Results: a.example; iprev=pass ("+w.name+") policy.iprev="+w.again()+"; spf=pass smtp.helo="+w.name,
		"ARC-Authentication-Results: i=1; a.example; spf=pass (designates "+w.again()+" as sender)",
		"X-Forefront-Antispam-Report: CIP:"+w.spell()+";H:"+w.name+";PTR:"+w.name+";",
		"X-Greylist: delayed ("+w.name+" ["+w.spell()+"])",
	) + "\r\n"
}

// clean decodes what it can and looks for the client in it.
func (w *writer) clean(t *testing.T, head string) {
	t.Helper()
	c := client{addrs: []netip.Addr{w.addr}, names: [][]byte{[]byte(w.name)}}
	for s := (scanner{b: []byte(head)}); s.next(); {
		tok := s.token()
		if s.encoded {
			tok = decodeWord(s.b[s.start:s.end])
		}
		if c.hasAddr(tok) || c.hasName(tok) || strings.Contains(strings.ToLower(string(tok)), w.name) || strings.Contains(string(tok), w.addr.String()) {
			t.Fatalf("%q (%s, %s) is left in\n%s", tok, w.addr, w.name, head)
		}
	}
}

// TestRandomMessages: nothing of a random client is left in class all, and the
// hops, the other fields and the body's neighbour stay.
func TestRandomMessages(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		w := &writer{Rand: r, name: fmt.Sprintf("host-%d.isp.example", i)}
		raw := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		if i%2 == 0 {
			w.addr = netip.AddrFrom4([4]byte{203, 0, 113, byte(r.IntN(256))})
		} else {
			for k := 4 + 2*r.IntN(6); k < 16; k++ {
				raw[k] = byte(r.IntN(256))
			}
			w.addr = netip.AddrFrom16(raw)
		}
		var b strings.Builder
		for range 1 + r.IntN(4) {
			b.WriteString(w.received())
			for range r.IntN(3) {
				b.WriteString(w.clientField())
			}
		}
		b.WriteString("Subject: minutes\r\n\r\n")
		h := mail.ParseHeader([]byte(b.String()))
		head := Redact(&h, nil, Options{Class: All}).Head
		w.clean(t, string(head))
		after := mail.ParseHeader(head)
		if n := after.Count("Received"); n != w.hops || !strings.HasSuffix(string(head), "\r\nSubject: minutes\r\n\r\n") {
			t.Fatalf("%d of %d hops in\n%s", n, w.hops, head)
		}
	}
}
