package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/internal/config"
	"mailweir/internal/dkimcore"
	"mailweir/mail"
)

const dkimHelp = `
gateway dkim keygen --domain DOMAIN --selector NAME [--type rsa|ed25519] [--out FILE]
gateway dkim check --config FILE [--json]

keygen makes a key to sign with, writes it to FILE, which must not be there yet,
and prints the DNS record to publish and the [[dkim]] section for the config.
Publish first, sign later: verifiers cannot check a signature without the record.

check compares every [[dkim]] key of the config with its record in DNS.

exit status: 0 all is well, 10 a record does not fit its key or DNS gave no answer,
1 a wrong config or argument, 2 usage.
`

// dkimOptions are the flags of both.
type dkimOptions struct {
	config, domain, selector, kind, out string
	bits                                int
	json                                bool
}

func dkimCommand(ctx context.Context, std stdio, args []string) (int, error) {
	var o dkimOptions
	set := flags(std, "dkim", dkimHelp)
	set.StringVar(&o.config, "config", "", "check: config `FILE`")
	set.StringVar(&o.domain, "domain", "", "keygen: `DOMAIN` to sign for")
	set.StringVar(&o.selector, "selector", "", "keygen: `NAME` of the key, which no other key of the domain has")
	set.StringVar(&o.kind, "type", "rsa", "keygen: rsa, which everybody verifies, or ed25519, as a second key")
	set.IntVar(&o.bits, "bits", 2048, "keygen: `SIZE` of an RSA key, 2048 to 4096")
	set.StringVar(&o.out, "out", "", "keygen: key `FILE` (default DOMAIN.SELECTOR.pem)")
	set.BoolVar(&o.json, "json", false, "check: print one JSON object a key")
	rest, err := parse(set, args)
	switch {
	case err != nil:
		return 0, err
	case len(rest) == 1 && rest[0] == "keygen" && o.domain != "" && o.selector != "":
		return exitOK, o.keygen(std.out)
	case len(rest) == 1 && rest[0] == "check" && o.config != "":
		return o.check(ctx, std.out)
	}
	return 0, errUsage
}

func (o *dkimOptions) keygen(w io.Writer) error {
	var domain config.Name
	if err := domain.UnmarshalText([]byte(o.domain)); err != nil {
		return fmt.Errorf("--domain %q is not a domain", o.domain)
	}
	var selector config.Selector
	if err := selector.UnmarshalText([]byte(o.selector)); err != nil {
		return fmt.Errorf("--selector %q is not a selector: letters, digits and hyphens", o.selector)
	}
	signer, err := o.generate()
	if err != nil {
		return err
	}
	k, err := dkimcore.NewPrivateKey(string(domain), string(selector), signer)
	if err != nil {
		return err
	}
	if o.out == "" {
		o.out = fmt.Sprintf("%s.%s.pem", domain, selector)
	}
	if err := writeKey(o.out, signer); err != nil {
		return err
	}
	fmt.Fprintf(w, "; %s has the private key; publish this record:\n%s", o.out, zoneRecord(k))
	fmt.Fprintf(w, "\n# and when it can be seen (gateway dkim check), in the config:\n[[dkim]]\ndomain = %q\nselector = %q\nkey = %q\n", domain, selector, o.out)
	return nil
}

func (o *dkimOptions) generate() (crypto.Signer, error) {
	switch o.kind {
	case "rsa":
		if o.bits < 2048 || o.bits > 4096 {
			return nil, fmt.Errorf("--bits %d: 2048 to 4096", o.bits)
		}
		return rsa.GenerateKey(rand.Reader, o.bits)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("--type %q: rsa or ed25519", o.kind)
}

// writeKey never overwrites: a key that is lost cannot be made again.
func writeKey(file string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: name another --out, or move it away", file)
	}
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return errors.Join(err, f.Sync(), f.Close())
}

// zoneRecord is the record in the form of zone files: a string of a TXT record
// has at most 255 octets (RFC 1035 section 3.3), and the parts are read as one.
func zoneRecord(k *dkimcore.PrivateKey) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. 3600 IN TXT (", k.Name())
	for text := k.Record(); text != ""; {
		n := min(len(text), 200)
		fmt.Fprintf(&b, "\n\t%q", text[:n])
		text = text[n:]
	}
	return b.String() + " )\n"
}

// publishedKey is a key and what DNS has for it. Its JSON is a public interface.
type publishedKey struct {
	Domain    string `json:"domain"`
	Selector  string `json:"selector"`
	Algorithm string `json:"algorithm"`
	Name      string `json:"name"` // of the record
	Expected  string `json:"expected"`
	Published string `json:"published,omitempty"`
	Problem   string `json:"problem,omitempty"`
}

func (o *dkimOptions) check(ctx context.Context, w io.Writer) (int, error) {
	cfg, err := loadConfig(o.config)
	if err != nil {
		return 0, err
	}
	resolver, err := newResolver(cfg, slog.New(slog.DiscardHandler), newInstruments(prometheus.NewRegistry()))
	if err != nil {
		return 0, err
	}
	defer resolver.Close()
	code := exitOK
	if len(cfg.DKIM) == 0 && !o.json {
		fmt.Fprintln(w, "no [[dkim]] in the config: nothing is signed")
	}
	for _, d := range cfg.DKIM {
		k, err := dkimcore.LoadPrivateKey(string(d.Domain), string(d.Selector), string(d.Key))
		if err != nil {
			return 0, err
		}
		p := comparePublished(ctx, resolver, k)
		if p.Problem != "" {
			code = exitProblems
		}
		p.print(w, o.json)
	}
	return code, nil
}

// txtResolver is what the comparison asks of DNS.
type txtResolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

func comparePublished(ctx context.Context, r txtResolver, k *dkimcore.PrivateKey) *publishedKey {
	p := &publishedKey{Domain: k.Domain, Selector: k.Selector, Algorithm: k.Algorithm, Name: k.Name(), Expected: k.Record()}
	txts, err := r.LookupTXT(ctx, mail.CanonicalDomain(k.Name()))
	switch {
	case err != nil:
		p.Problem = err.Error()
		return p
	case len(txts) > 1:
		p.Problem = "several records: verifiers may take any of them, or none"
		return p
	}
	p.Published = txts[0]
	public, err := dkimcore.ParseKey(txts[0])
	switch {
	case err != nil:
		p.Problem = err.Error()
	case !k.Matches(public):
		p.Problem = "the record has another key: nothing that we sign can be verified"
	case public.Testing:
		p.Problem = "t=y: verifiers treat failures like unsigned mail"
	}
	return p
}

func (p *publishedKey) print(w io.Writer, asJSON bool) {
	if asJSON {
		b, _ := json.Marshal(p) // strings only
		fmt.Fprintf(w, "%s\n", b)
		return
	}
	if p.Problem == "" {
		fmt.Fprintf(w, "%s (%s): ok\n", p.Name, p.Algorithm)
		return
	}
	fmt.Fprintf(w, "%s (%s): %s\n  expected   %s\n", p.Name, p.Algorithm, printable(p.Problem), p.Expected)
	if p.Published != "" {
		fmt.Fprintf(w, "  published  %s\n", printable(p.Published))
	}
}
