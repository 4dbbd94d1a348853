package main

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"mailweir/mail"
)

// onlooker runs a gateway that lets everything through, and reads what it found
// where others read it: in the header of the message as it is relayed.
type onlooker struct {
	*world
	more string // config besides relayedConfig
	sent int
	last []byte // as it arrived
}

const relayedConfig = `
hostname = "mx.example.org"
data_dir = "{{.Dir}}/data"
mode = "tag"

[[listener]]
address = "{{.Listen}}"
trusted_proxies = ["127.0.0.0/8"]

[dns]
servers = ["{{.DNS}}"]

[metrics]
address = "{{.Metrics}}"

[[domain]]
name = "rcpt.example"
next_hops = ["{{.Sink}}"]
`

func startOnlooker(t *testing.T, zone string) *onlooker {
	t.Helper()
	r := &onlooker{world: newWorld(t, t.TempDir())}
	r.open(t, zone)
	return r
}

func (r *onlooker) open(t *testing.T, zone string) {
	t.Helper()
	if err := r.dns.Replace(zone); err != nil {
		t.Fatalf("%v\n%s", err, zone)
	}
	r.write("gateway.toml", relayedConfig+r.more)
	r.start()
}

// passage is how a message comes in.
type passage struct{ ip, helo, from string }

// results sends a message through, and reads its Authentication-Results as it
// arrives. refused is the reply where it is not taken.
func (r *onlooker) results(t *testing.T, p passage, msg []byte) (found []authResult, refused string) {
	t.Helper()
	l := &letter{listen: "Listen", xclient: "ADDR=" + p.ip, helo: p.helo, from: p.from, to: []string{"joe@rcpt.example"}, msg: msg}
	if strings.Contains(p.ip, ":") {
		l.xclient = "ADDR=IPV6:" + p.ip
	}
	for _, text := range []string{p.from, p.helo, string(msg)} {
		if utf8.ValidString(text) && strings.ContainsFunc(text, func(c rune) bool { return c > '~' }) {
			l.mailParams = " SMTPUTF8"
		}
	}
	reply, _, err := r.post(l)
	if err != nil {
		t.Fatal(err)
	}
	if reply[0] != '2' {
		return nil, reply
	}
	r.sent++
	all, err := r.sinks["Sink"].wait(r.sent, patience)
	if err != nil {
		t.Fatal(err)
	}
	r.last = all[r.sent-1].Data
	return readResults(t, r.last), ""
}

// authResult is one resinfo of RFC 8601 section 2.2.
type authResult struct {
	method, result string
	props          map[string]string
}

// readResults reads the topmost field that is ours, with a parser of its own.
func readResults(t *testing.T, msg []byte) []authResult {
	t.Helper()
	h := mail.ParseHeader(msg)
	for _, f := range h.Fields {
		text := strings.TrimSpace(strings.NewReplacer("\r\n", "", "\t", " ").Replace(string(f.Body())))
		if rest, ours := strings.CutPrefix(text, "mx.example.org;"); ours && f.Is("Authentication-Results") {
			var out []authResult
			for _, part := range unquotedFields(rest, ';') {
				words := unquotedFields(part, ' ')
				method, result, _ := strings.Cut(words[0], "=")
				a := authResult{method, result, map[string]string{}}
				for _, w := range words[1:] {
					name, value, _ := strings.Cut(w, "=")
					a.props[name] = strings.Trim(value, `"`)
				}
				out = append(out, a)
			}
			return out
		}
	}
	t.Fatalf("no Authentication-Results in\n%s", msg)
	return nil
}

// unquotedFields splits at a character outside of quoted strings; no field is
// empty.
func unquotedFields(s string, at byte) (out []string) {
	quoted, start := false, 0
	add := func(end int) {
		if f := strings.TrimSpace(s[start:end]); f != "" {
			out = append(out, f)
		}
		start = end + 1
	}
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == at && !quoted:
			add(i)
		}
	}
	add(len(s))
	return out
}

// first is the first result of a method; of SPF that is MAIL FROM's.
func first(results []authResult, method string) authResult {
	for _, r := range results {
		if r.method == method {
			return r
		}
	}
	return authResult{method: method}
}

// zoneLine is a record in the DNS server's notation: octets that need it are
// escaped, TXT is cut into strings.
func zoneLine(name, typ, value string) string {
	switch typ {
	case "TXT":
		value = zoneStrings(value)
	case "MX":
		pref, host, two := strings.Cut(value, " ")
		if !two {
			pref, host = "10", value
		}
		value = pref + " " + zoneName(host) + "."
	case "CNAME", "PTR":
		value = zoneName(value) + "."
	}
	return zoneName(name) + " " + typ + " " + value + "\n"
}

func zoneName(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if c := name[i] | 0x20; 'a' <= c && c <= 'z' || strings.IndexByte("0123456789.-_", name[i]) >= 0 {
			b.WriteByte(name[i])
		} else {
			fmt.Fprintf(&b, `\%03d`, name[i])
		}
	}
	return strings.TrimSuffix(b.String(), ".")
}

// zoneStrings quotes a text, in strings of at most 200 octets.
func zoneStrings(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(text); i++ {
		if i > 0 && i%200 == 0 {
			b.WriteString(`" "`)
		}
		if c := text[i]; c < ' ' || c > '~' || strings.IndexByte(`";\`, c) >= 0 {
			fmt.Fprintf(&b, `\%03d`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String() + `"`
}
