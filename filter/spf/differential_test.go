package spf

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	blitiri "blitiri.com.ar/go/spf"

	"mailweir/internal/dns"
	"mailweir/mail"
)

// world is a random zone with policies that point at each other, and a client.
type world struct {
	*rand.Rand
	zone map[string][]string // "name/TYPE"
	fail []string
	ip   netip.Addr
	helo string
	path string
}

const names = 6

func newWorld(seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 7)), zone: map[string][]string{}, helo: "mx.d1.example"}
	w.ip = netip.MustParseAddr(w.pick("192.0.2.1", "192.0.2.130", "198.51.100.7", "2001:db8::1", "2001:db8:1::9"))
	w.path = w.pick("joe", "Joe.Doe", "a+b-c", "x_y") + "@d0.example"
	for i := range names {
		name := fmt.Sprintf("d%d.example", i)
		if w.IntN(8) > 0 {
			w.zone[name+"/TXT"] = []string{w.policy(i)}
		}
		if w.IntN(20) == 0 {
			w.zone[name+"/TXT"] = append(w.zone[name+"/TXT"], w.pick("v=spf1 -all", "hello"))
		}
		if w.IntN(4) > 0 {
			w.zone[name+"/A"] = []string{w.pick("192.0.2.1", "192.0.2.3"), "203.0.113.9"}
			w.zone[name+"/AAAA"] = []string{w.pick("2001:db8::1", "2001:db8::2")}
		}
		if w.IntN(3) > 0 {
			w.zone[name+"/MX"] = []string{"mx." + name, "mx2." + name}
			w.zone["mx2."+name+"/A"] = []string{w.pick("192.0.2.1", "192.0.2.3")}
			w.zone["mx2."+name+"/AAAA"] = []string{"2001:db8::2"}
			w.zone["mx."+name+"/A"] = []string{"198.51.100.7"}
			w.zone["mx."+name+"/AAAA"] = []string{"2001:db8:1::9"}
		}
		if w.IntN(12) == 0 {
			w.fail = append(w.fail, name+"/"+w.pick("TXT", "A", "AAAA", "MX"))
		}
		w.zone[w.pick("joe.", "doe.joe.", "1.2.0.192.", "in-addr.", "example.d0.")+"p."+name+"/A"] = []string{"127.0.0.2"}
	}
	if w.IntN(2) == 0 {
		// Each name has addresses: pyspf counts the void ones, RFC 7208 the terms.
		for i := range 2 {
			host := fmt.Sprintf("h%d.%s", i, w.domain())
			w.zone[reverseName(w.ip)+"/PTR"] = append(w.zone[reverseName(w.ip)+"/PTR"], host)
			w.zone[host+"/A"] = []string{w.pick("192.0.2.1", "192.0.2.130", "198.51.100.7")}
			w.zone[host+"/AAAA"] = []string{w.pick("2001:db8::1", "2001:db8:1::9")}
		}
	}
	return w
}

func (w *world) pick(s ...string) string { return s[w.IntN(len(s))] }
func (w *world) other(self int) string {
	return fmt.Sprintf("d%d.example", (self+1+w.IntN(names-1))%names)
}
func (w *world) domain() string { return fmt.Sprintf("d%d.example", w.IntN(names)) }

// policy never includes its own domain: pyspf takes that for an error of syntax.
func (w *world) policy(self int) string {
	terms := []string{w.pick("v=spf1", "v=spf1", "v=spf1 ", "V=SPF1")}
	for range w.IntN(5) {
		terms = append(terms, w.pick("", "", "+", "-", "~", "?")+w.mechanism(self))
	}
	if w.IntN(3) > 0 {
		terms = append(terms, w.pick("-all", "~all", "?all", "all", "-ALL"))
	}
	if w.IntN(4) == 0 {
		terms = append(terms, "redirect="+w.other(self))
	}
	if w.IntN(8) == 0 {
		terms = append(terms, w.pick("exp=x."+w.domain(), "x=%{d}", "moo="))
	}
	return strings.Join(terms, " ")
}

func (w *world) mechanism(self int) string {
	switch w.IntN(12) {
	case 0:
		return w.pick("ip4:192.0.2.0/25", "ip4:192.0.2.130", "ip4:198.51.100.0/24", "ip4:0.0.0.0/0", "ip4:192.0.2.1/32")
	case 1:
		return w.pick("ip6:2001:db8::/64", "ip6:2001:db8:1::9", "ip6:::/0", "ip6:2001:db8::1/128")
	case 2:
		return w.pick("a", "a/24", "a//64", "a/24//48", "a:"+w.domain(), "a:"+w.domain()+"/25//64", "A:"+w.domain())
	case 3:
		return w.pick("mx", "mx/24", "mx:"+w.domain(), "mx:"+w.domain()+"/16//32")
	case 4, 5, 6:
		return w.pick("include:", "Include:") + w.other(self)
	case 7:
		return "exists:" + w.pick("%{l}", "%{l1r-}", "%{lr+}", "%{ir}", "%{v}", "%{dr}", "%{o1r}.%{d1r}", "%{l2}") + ".p." + w.domain()
	case 8:
		return w.pick("a:%{d}", "a:mx.%{d2}", "mx:%{d}", "a:%{h}")
	case 9:
		return w.pick("ptr", "ptr:"+w.domain(), "ptr:example")
	case 10: // errors of syntax, which must be seen wherever they stand
		return w.pick("a:", "ip4:192.0.2", "ip4:192.0.2.1/33", "ip6:192.0.2.1", "all:x", "include", "foo", "a/33", "a//129", "a:%{x}.example", "mx:%", "ip4")
	}
	return "a"
}

func reverseName(a netip.Addr) string {
	labels := strings.Split(strings.ToLower(dotted(a)), ".")
	for i, j := 0, len(labels)-1; i < j; i, j = i+1, j-1 {
		labels[i], labels[j] = labels[j], labels[i]
	}
	if a.Is4() {
		return strings.Join(labels, ".") + ".in-addr.arpa"
	}
	return strings.Join(labels, ".") + ".ip6.arpa"
}

func (w *world) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ip %s helo %s path %s fail %v\n", w.ip, w.helo, w.path, w.fail)
	for name, values := range w.zone {
		fmt.Fprintf(&b, "  %s %q\n", name, values)
	}
	return b.String()
}

func (w *world) ask(name, typ string) ([]string, error) {
	key := strings.ToLower(strings.TrimSuffix(name, ".")) + "/" + typ
	for _, f := range w.fail {
		if f == key {
			return nil, &dns.Error{Name: name, Type: typ, Kind: dns.Temporary}
		}
	}
	if v := w.zone[key]; v != nil {
		return v, nil
	}
	return nil, &dns.Error{Name: name, Type: typ, Kind: dns.NotFound}
}

func (w *world) addrs(name, typ string) (out []netip.Addr, err error) {
	values, err := w.ask(name, typ)
	for _, v := range values {
		out = append(out, netip.MustParseAddr(v))
	}
	return out, err
}

func (w *world) LookupTXT(_ context.Context, name string) ([]string, error) {
	return w.ask(name, "TXT")
}
func (w *world) LookupA(_ context.Context, name string) ([]netip.Addr, error) {
	return w.addrs(name, "A")
}
func (w *world) LookupAAAA(_ context.Context, name string) ([]netip.Addr, error) {
	return w.addrs(name, "AAAA")
}
func (w *world) LookupPTR(_ context.Context, a netip.Addr) ([]string, error) {
	return w.ask(reverseName(a), "PTR")
}
func (w *world) LookupMX(_ context.Context, name string) (out []dns.MX, err error) {
	values, err := w.ask(name, "MX")
	for _, v := range values {
		out = append(out, dns.MX{Host: v})
	}
	return out, err
}

func (w *world) check() Result {
	return CheckHost(context.Background(), w, Args{IP: w.ip, Helo: w.helo, MailFrom: mail.Path(w.path)})
}

// TestAgainstPyspf compares with the reference implementation of the suite's
// authors.
func TestAgainstPyspf(t *testing.T) {
	const python = "/usr/bin/python3"
	if exec.Command(python, "-c", "import spf").Run() != nil {
		t.Skip("the oracle is not there: needs the Debian package python3-spf")
	}
	cmd := exec.Command(python, "testdata/pyspf.py")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	in, out := json.NewEncoder(stdin), bufio.NewReader(stdout)
	n := 4000
	if testing.Short() {
		n = 400
	}
	seen := map[Status]int{}
	for seed := range uint64(n) {
		w := newWorld(seed)
		in.Encode(map[string]any{"ip": w.ip.String(), "helo": w.helo, "sender": w.path, "zone": w.zone, "fail": w.fail})
		line, err := out.ReadBytes('\n')
		var theirs Status
		if err == nil {
			err = json.Unmarshal(line, &theirs)
		}
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, w)
		}
		ours := w.check()
		seen[ours.Status]++
		if ours.Status != theirs && !excused(ours, theirs) {
			t.Fatalf("seed %d: got %s (%s), pyspf says %s\n%s", seed, ours.Status, ours.Problem, theirs, w)
		}
	}
	for _, s := range []Status{None, Neutral, Pass, Fail, SoftFail, TempError, PermError} {
		if seen[s] < n/200 {
			t.Errorf("only %d of %d worlds end in %s", seen[s], n, s)
		}
	}
}

// excused: pyspf counts an include when it reads it and again when it evaluates
// it, so that it reaches the limit of ten earlier.
func excused(ours Result, theirs Status) bool {
	return theirs == PermError && ours.Lookups > maxLookups/2
}

// goResolver is a world as blitiri's library wants it.
type goResolver struct{ *world }

func goError(err error) error {
	if err == nil {
		return nil
	}
	return &net.DNSError{Err: err.Error(), IsNotFound: dns.IsNotFound(err), IsTemporary: dns.IsTemporary(err)}
}

func (g goResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	v, err := g.ask(name, "TXT")
	return v, goError(err)
}

func (g goResolver) LookupMX(ctx context.Context, name string) (out []*net.MX, err error) {
	hosts, err := g.ask(name, "MX")
	for _, h := range hosts {
		out = append(out, &net.MX{Host: h})
	}
	return out, goError(err)
}

func (g goResolver) LookupIPAddr(ctx context.Context, name string) (out []net.IPAddr, err error) {
	four, err4 := g.addrs(name, "A")
	six, err := g.addrs(name, "AAAA")
	if err4 != nil && (!dns.IsNotFound(err4) || err == nil) {
		err = err4
	}
	for _, a := range append(four, six...) {
		out = append(out, net.IPAddr{IP: a.AsSlice()})
	}
	if dns.IsNotFound(err) && len(out) > 0 {
		err = nil
	}
	return out, goError(err)
}

func (g goResolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	v, err := g.ask(reverseName(netip.MustParseAddr(addr)), "PTR")
	return v, goError(err)
}

var _ blitiri.DNSResolver = goResolver{}

// TestAgainstBlitiri compares with blitiri.com.ar/go/spf, which stops at the
// first match, before errors that stand behind it, and has no %{p}.
func TestAgainstBlitiri(t *testing.T) {
	n := 10000
	if testing.Short() {
		n = 1000
	}
	compared := 0
	for seed := range uint64(n) {
		w := newWorld(1<<40 + seed)
		// It asks for both families at once: a failure of the other one differs.
		w.fail = slices.DeleteFunc(w.fail, func(f string) bool { return strings.Contains(f, "/A") })
		ours := w.check()
		if ours.Status == PermError && strings.HasPrefix(ours.Problem, "record of") || ours.Voids > maxVoid {
			continue // it counts a client without names once, however often ptr stands
		}
		compared++
		theirs, err := blitiri.CheckHostWithSender(w.ip.AsSlice(), w.helo, w.path, blitiri.WithResolver(goResolver{w}))
		if string(ours.Status) != string(theirs) {
			t.Fatalf("seed %d: got %s (%s), blitiri says %s (%v)\n%s", seed, ours.Status, ours.Problem, theirs, err, w)
		}
	}
	if compared < n/2 {
		t.Errorf("only %d of %d worlds were compared", compared, n)
	}
}
