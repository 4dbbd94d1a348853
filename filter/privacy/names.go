package privacy

import "bytes"

// Fields that no table knows are judged by their names. A name is made of
// words: X-WatchGuard-Mail-Client-IP, x_remote_addr, X-ConnectingHost.

// clientWords are words of a name that promises a client. Every address in
// such a field counts as the client's; where the value is true, every host
// name, too.
var clientWords = map[string]bool{
	"helo": true, "ehlo": true, "lhlo": true, "rdns": true, "fcrdns": true, "ptr": true, "dns": true,
	"host": true, "hostname": true, "hosts": true, "client": true, "clients": true, "remote": true, "peer": true,
	"origin": true, "originator": true, "originating": true, "connecting": true, "connect": true, "connection": true,
	"submitted": true, "posting": true, "browser": true, "device": true, "via": true,
	"ip": false, "ips": false, "ipv4": false, "ipv6": false, "ip4": false, "ip6": false, "addr": false, "address": false,
	"ipaddr": false, "ipaddress": false, "geoip": false, "original": false, "orig": false, "source": false, "src": false,
	"sender": false, "senderid": false, "senderinfo": false, "relay": false, "relays": false, "proxy": false, "session": true, "login": false,
	"logged": false, "spf": false, "rbl": false, "dnsbl": false, "greylist": false, "antispam": false, "spam": false,
	"lookup": false, "auth": false, "abuse": false, "complaints": false, "antiabuse": false, "spamd": false, "barracuda": false, "assp": false, "trace": false,
	"policyd": false, "rspamd": false, "ptr6": false, "p0f": false, "ctch": false, "exchange": false,
}

// ownWords are words of a name that speaks of the software or of the content:
// four small numbers there are a version.
var ownWords = map[string]bool{
	"version": true, "mailer": true, "agent": true, "build": true, "engine": true, "rules": true, "product": true,
	"subject": true, "topic": true, "id": true, "date": true,
}

// judgeName is the treatment of a lower-case name that the table does not have;
// name is how it was written.
func judgeName(lower, name []byte) treatment {
	if len(lower) == 0 {
		return untouched
	}
	if bytes.HasSuffix(lower, []byte("-received")) {
		return hop
	}
	for _, prefix := range contentPrefixes {
		if bytes.HasPrefix(lower, prefix) {
			return untouched
		}
	}
	if bytes.HasSuffix(lower, []byte("-version")) {
		return untouched
	}
	best := told
	for w := (words{b: bytes.TrimRight(name, " \t")}); w.next(); {
		word := lower[w.start:w.end]
		hosts, client := promises(word)
		switch {
		case client && hosts:
			return suspectHost
		case client:
			best = suspect
		case best == told && ownWords[string(word)]:
			best = untouched
		}
	}
	return best
}

// promises looks a word up, and what is behind another word that is glued to it:
// X-USERHOST.
func promises(word []byte) (hosts, client bool) {
	if hosts, client = clientWords[string(word)]; client {
		return hosts, true
	}
	for _, who := range glued {
		if rest, ok := bytes.CutPrefix(word, []byte(who)); ok {
			if hosts, client = clientWords[string(rest)]; client {
				return hosts, true
			}
		}
	}
	return false, false
}

var glued = [...]string{"user", "client", "remote", "sender", "sending", "source", "peer", "orig", "original", "originating", "origin", "real", "smtp", "mail", "browser", "connecting", "last", "public"}

// contentPrefixes begin the names of fields that people and their programs
// write: nothing in them is trace.
var contentPrefixes = [][]byte{[]byte("list-"), []byte("content-"), []byte("resent-"), []byte("mime-"), []byte("thread-"), []byte("autocrypt")}

// words goes through the words of a field name: between dashes, underscores
// and dots, and at a capital letter behind a small one.
type words struct {
	b          []byte
	start, end int
}

func (w *words) next() bool {
	w.start = w.end
	for w.start < len(w.b) && isWordEnd(w.b[w.start]) {
		w.start++
	}
	for w.end = w.start; w.end < len(w.b) && !isWordEnd(w.b[w.end]); w.end++ {
		if w.end > w.start && isUpper(w.b[w.end]) && isLower(w.b[w.end-1]) {
			break
		}
	}
	return w.end > w.start
}

func isWordEnd(c byte) bool { return c == '-' || c == '_' || c == '.' }
func isLower(c byte) bool   { return 'a' <= c && c <= 'z' }
func isUpper(c byte) bool   { return 'A' <= c && c <= 'Z' }
