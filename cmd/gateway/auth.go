package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/filter/spf"
	"mailweir/internal/config"
	"mailweir/internal/dkimcore"
	"mailweir/internal/dns"
	"mailweir/mail"
)

const authHelp = `
gateway auth trace --config FILE [flags] DOMAIN

Shows what SPF, DKIM and DMARC of a domain look like from here, what is wrong
with them, and every DNS question with its answer. Without --ip, SPF is
evaluated for an address that no record should name (192.0.2.1), which reads
all of it. Selectors of DKIM cannot be found out; --selector names them, and
those of our own [[dkim]] keys are known (gateway dkim check compares the two). [dnssec]
stands behind what a server that is trusted (dns.trust_ad) says it has validated.

exit status: 0 nothing is wrong, 10 something is or DNS gave no answer, 1 a wrong
config or argument, 2 usage.
`

// exitProblems tells that the trace has found something wrong.
const exitProblems = 10

// authOptions are what the trace is about.
type authOptions struct {
	config    string
	ip        string
	selectors stringList
	json      bool
}

func authCommand(ctx context.Context, std stdio, args []string) (int, error) {
	var o authOptions
	fs := flags(std, "auth", authHelp)
	fs.StringVar(&o.config, "config", "", "config `FILE`")
	fs.StringVar(&o.ip, "ip", "", "client `ADDRESS` to evaluate SPF for")
	fs.Var(&o.selectors, "selector", "DKIM selector `NAME`, may be repeated")
	fs.BoolVar(&o.json, "json", false, "print one JSON object")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) != 2 || rest[0] != "trace" || o.config == "" {
		return 0, errUsage
	}
	domain := mail.CanonicalDomain(rest[1])
	if !mail.ValidDomain(domain, true) || domain[0] == '[' {
		return 0, fmt.Errorf("%q is not a domain", rest[1])
	}
	addr := netip.MustParseAddr("192.0.2.1")
	if o.ip != "" {
		if addr, err = netip.ParseAddr(o.ip); err != nil {
			return 0, fmt.Errorf("--ip %q is not an address", o.ip)
		}
	}
	cfg, err := loadConfig(o.config)
	if err != nil {
		return 0, err
	}
	resolver, err := newResolver(cfg, slog.New(slog.DiscardHandler), newInstruments(prometheus.NewRegistry()))
	if err != nil {
		return 0, err
	}
	defer resolver.Close()
	t := &authTrace{Domain: domain, dns: &recorder{src: resolver, log: &queryLog{}}}
	t.run(ctx, addr, o.ip != "", ownSelectors(cfg, domain, o.selectors))
	return t.print(std.out, o.json)
}

// ownSelectors adds those that we sign for the domain with.
func ownSelectors(cfg *config.Config, domain string, list []string) []string {
	for _, k := range cfg.DKIM {
		if string(k.Domain) == domain && !slices.Contains(list, string(k.Selector)) {
			list = append(list, string(k.Selector))
		}
	}
	return list
}

// authTrace is what was found out about a domain. Its JSON is a public
// interface.
type authTrace struct {
	Domain  string     `json:"domain"`
	SPF     spfTrace   `json:"spf"`
	DKIM    []keyTrace `json:"dkim"`
	DMARC   polTrace   `json:"dmarc"`
	Queries []*query   `json:"queries"`

	dns *recorder
}

type spfTrace struct {
	Result    string   `json:"result"`
	Address   string   `json:"address"`
	Record    string   `json:"record,omitempty"`
	Mechanism string   `json:"mechanism,omitempty"` // that decided
	Lookups   int      `json:"lookups"`             // of the 10 that RFC 7208 section 4.6.4 allows
	DNSSEC    bool     `json:"dnssec"`              // every answer was validated
	Problems  []string `json:"problems"`
}

type keyTrace struct {
	Selector string   `json:"selector"`
	Record   string   `json:"record,omitempty"`
	Bits     int      `json:"bits,omitempty"`
	DNSSEC   bool     `json:"dnssec"`
	Problems []string `json:"problems"`
}

func (t *authTrace) run(ctx context.Context, addr netip.Addr, given bool, selectors []string) {
	t.traceSPF(ctx, addr, given)
	t.DKIM = []keyTrace{}
	for _, s := range selectors {
		t.DKIM = append(t.DKIM, t.traceKey(ctx, s))
	}
	t.traceDMARC(ctx)
	t.Queries = t.dns.log.queries
}

func (t *authTrace) traceSPF(ctx context.Context, addr netip.Addr, given bool) {
	ctx, answers := dns.Observe(ctx)
	r := spf.CheckHost(ctx, t.dns, spf.Args{IP: addr, Helo: t.Domain, MailFrom: mail.Path("postmaster@" + t.Domain), Receiver: "unknown"})
	t.SPF = spfTrace{
		Result: string(r.Status), Address: addr.String(), Mechanism: printable(r.Mechanism), Lookups: r.Lookups,
		Record: t.dns.log.txt(t.Domain, "v=spf1"), DNSSEC: answers.All(), Problems: []string{},
	}
	wrong := func(format string, a ...any) { t.SPF.Problems = append(t.SPF.Problems, fmt.Sprintf(format, a...)) }
	switch {
	case r.Problem != "":
		wrong("%s", printable(r.Problem))
	case r.Status == spf.None && near(t.dns.log.answers("TXT", t.Domain), "v=spf") != "":
		wrong("%q is no record: it must begin with \"v=spf1\" and a space", near(t.dns.log.answers("TXT", t.Domain), "v=spf"))
	case r.Status == spf.None:
		wrong("no record: receivers cannot tell who may send as %s", t.Domain)
	case !given && r.Status == spf.Pass:
		wrong("everybody passes, by %s", printable(r.Mechanism))
	case !given && r.Status == spf.Neutral:
		wrong("the record says nothing about other hosts: it should end in -all or ~all")
	}
	if t.SPF.Record != "" {
		t.SPF.Problems = append(t.SPF.Problems, spfAdvice(t.SPF.Record)...)
	}
	if r.Lookups > 8 && r.Status != spf.PermError {
		wrong("%d of 10 allowed look-ups are used: one provider's change away from permerror", r.Lookups)
	}
}

// recommendedBits is what RFC 8301 section 3.2 asks signers for.
const recommendedBits = 2048

func (t *authTrace) traceKey(ctx context.Context, selector string) keyTrace {
	k := keyTrace{Selector: selector, Problems: []string{}}
	wrong := func(s string) { k.Problems = append(k.Problems, s) }
	ctx, answer := dns.Observe(ctx)
	name := selector + "._domainkey." + t.Domain
	txts, err := t.dns.LookupTXT(ctx, name)
	k.DNSSEC = answer.All()
	switch {
	case err != nil:
		wrong(err.Error())
		if misplaced := t.twice(ctx, name); dns.IsNotFound(err) && misplaced != "" {
			wrong(misplaced)
		}
		return k
	case len(txts) > 1:
		wrong("several records: verifiers may take any of them")
		return k
	}
	k.Record = printable(txts[0])
	key, err := dkimcore.ParseKey(txts[0])
	if key != nil {
		k.Bits = key.Bits
	}
	switch {
	case err != nil:
		wrong(err.Error() + withoutType(txts[0]))
	case key.IsRSA() && key.Bits < recommendedBits:
		wrong(fmt.Sprintf("an RSA key of %d bits is short: %d are recommended", key.Bits, recommendedBits))
	}
	if err == nil {
		k.Problems = append(k.Problems, keyAdvice(key)...)
	}
	return k
}

func (t *authTrace) problems() int {
	n := len(t.SPF.Problems) + len(t.DMARC.Problems)
	for _, k := range t.DKIM {
		n += len(k.Problems)
	}
	return n
}

func (t *authTrace) print(w io.Writer, asJSON bool) (int, error) {
	code := exitOK
	if t.problems() > 0 {
		code = exitProblems
	}
	if asJSON {
		b, err := json.Marshal(t)
		fmt.Fprintf(w, "%s\n", b)
		return code, err
	}
	fmt.Fprintf(w, "spf     %s for %s%s%s\n", t.SPF.Result, t.SPF.Address, after(" by ", t.SPF.Mechanism), dnssec(t.SPF.DNSSEC))
	printRecord(w, t.SPF.Record, t.SPF.Problems)
	for _, k := range t.DKIM {
		fmt.Fprintf(w, "dkim    selector %s%s%s\n", k.Selector, k.size(), dnssec(k.DNSSEC))
		printRecord(w, k.Record, k.Problems)
	}
	fmt.Fprintf(w, "dmarc   %s%s\n", t.DMARC.summary(), dnssec(t.DMARC.DNSSEC))
	printRecord(w, t.DMARC.Record, t.DMARC.Problems)
	fmt.Fprintln(w, "\nDNS")
	for _, q := range t.Queries {
		q.print(w, "  ")
	}
	return code, nil
}

// size is that of a key that could be read.
func (k *keyTrace) size() string {
	if k.Bits == 0 {
		return ""
	}
	return fmt.Sprintf(", %d bits", k.Bits)
}

// after is s behind a word, or nothing.
func after(word, s string) string {
	if s == "" {
		return ""
	}
	return word + s
}

// dnssec marks what a validating server stands for.
func dnssec(validated bool) string {
	if validated {
		return "  [dnssec]"
	}
	return ""
}

func printRecord(w io.Writer, record string, problems []string) {
	if record != "" {
		fmt.Fprintf(w, "        %s\n", record)
	}
	for _, p := range problems {
		fmt.Fprintf(w, "     !  %s\n", p)
	}
}
