package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var generate = flag.Bool("generate", false, "write testdata/cases anew from the table of TestGenerateCases")

// caseSigner signs the cases: a fixed key, so that they do not change.
type caseSigner struct{ key ed25519.PrivateKey }

func newCaseSigner() caseSigner {
	return caseSigner{ed25519.NewKeyFromSeed([]byte("the seed of the cases for DKIM.."))}
}

func (s caseSigner) record(more string) string {
	return "v=DKIM1; k=ed25519; " + more + "p=" + base64.StdEncoding.EncodeToString(s.key.Public().(ed25519.PublicKey))
}

var (
	spaces   = regexp.MustCompile(`[ \t]+`)
	trailing = regexp.MustCompile(`[ \t]+\r\n`)
)

// relax is RFC 6376 section 3.4.2 by the letter.
func relax(field string) string {
	name, value, _ := strings.Cut(field, ":")
	value = spaces.ReplaceAllString(strings.ReplaceAll(value, "\r\n", ""), " ")
	return strings.ToLower(strings.TrimRight(name, " \t")) + ":" + strings.TrimSpace(value) + "\r\n"
}

// relaxBody is section 3.4.4 by the letter, simpleBody section 3.4.3.
func relaxBody(b string) string {
	b = spaces.ReplaceAllString(trailing.ReplaceAllString(b, "\r\n"), " ")
	if b = strings.TrimRight(b, "\r\n"); b != "" {
		b += "\r\n"
	}
	return b
}

func simpleBody(b string) string { return strings.TrimRight(b, "\r\n") + "\r\n" }

// sign makes a signature with these tags over the fields as they are given, in
// the order in which h= names them. %s is the body hash.
func (s caseSigner) sign(tags string, signed []string, body string, relaxed bool) string {
	canonical := simpleBody(body)
	if relaxed {
		canonical = relaxBody(body)
	}
	digest := sha256.Sum256([]byte(canonical))
	field := "DKIM-Signature: " + fmt.Sprintf(tags, base64.StdEncoding.EncodeToString(digest[:])) + "; b="
	var b strings.Builder
	for _, f := range signed {
		if relaxed {
			f = relax(f)
		}
		b.WriteString(f)
	}
	if relaxed {
		b.WriteString(strings.TrimSuffix(relax(field+"\r\n"), "\r\n"))
	} else {
		b.WriteString(field)
	}
	sum := sha256.Sum256([]byte(b.String()))
	sig, err := s.key.Sign(nil, sum[:], crypto.Hash(0))
	if err != nil {
		panic(err)
	}
	return field + base64.StdEncoding.EncodeToString(sig) + "\r\n"
}

const (
	caseFrom    = "From: Joe <joe@example.org>\r\n"
	caseSubject = "Subject: A  folded\r\n\tline \r\n"
	caseHead    = caseFrom + caseSubject
	caseBody    = "Hello  world \r\n\r\nbye\r\n\r\n\r\n"
	relaxedTags = "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=s; t=1500000000; h=From:Subject; bh=%s"
	simpleTags  = "v=1; a=ed25519-sha256; d=example.org; s=s; t=1500000000; h=From:Subject; bh=%s"
	ed          = "example.org s ed25519-sha256 256"
	ed0         = "example.org s ed25519-sha256 0"
)

// TestGenerateCases writes the cases that follow from the text of the RFCs,
// each with the reason why its result is what it is.
func TestGenerateCases(t *testing.T) {
	if !*generate {
		t.Skip("only with -generate")
	}
	s := newCaseSigner()
	relaxed := s.sign(relaxedTags, []string{caseFrom, caseSubject}, caseBody, true)
	simple := s.sign(simpleTags, []string{caseFrom, caseSubject}, caseBody, false)
	tagged := func(old, new string) string {
		return s.sign(strings.Replace(relaxedTags, old, new, 1), []string{caseFrom, caseSubject}, caseBody, true)
	}
	over := s.sign(strings.Replace(relaxedTags, "h=From:Subject", "h=From:From:Subject:Subject:List-Id", 1), []string{caseFrom, caseSubject}, caseBody, true)
	twice := s.sign(strings.Replace(relaxedTags, "h=From:Subject", "h=From:Subject:Subject", 1), []string{caseFrom, "Subject: below\r\n", "Subject: above\r\n"}, caseBody, true)
	key := s.record("")
	for _, c := range []struct{ name, message, dns, result, readme string }{
		{"relaxed", relaxed + caseHead + "\r\n" + caseBody, key, "pass " + ed, "Relaxed canonicalisation of fields and body (RFC 6376 sections 3.4.2 and 3.4.4)."},
		{"simple", simple + caseHead + "\r\n" + caseBody, key, "pass " + ed, "Simple is the default of both (section 3.5, c=)."},
		{"relaxed-refolded", relaxed + "from:Joe <joe@example.org>\t\r\nSUBJECT :A folded line\r\n\r\nHello\tworld\r\n\r\nbye \r\n", key, "pass " + ed, "All that relaxed canonicalisation forgives: case of names, folding, runs of white space, white space at line ends, empty lines at the end. White space before the colon is obsolete, and goes too."},
		{"simple-refolded", simple + "From: Joe <joe@example.org>\r\nSubject: A  folded line \r\n\r\n" + caseBody, key, "fail " + ed + " signature does not match", "Simple forgives nothing in fields (section 3.4.1)."},
		{"simple-blank-lines", simple + caseHead + "\r\n" + strings.TrimRight(caseBody, "\r\n") + "\r\n", key, "pass " + ed, "Empty lines at the end of the body do not count under simple either (section 3.4.3)."},
		{"empty-body-relaxed", s.sign(relaxedTags, []string{caseFrom, caseSubject}, "", true) + caseHead + "\r\n", key, "pass " + ed, "An empty body is the empty string under relaxed (section 3.4.4)."},
		{"empty-body-simple", s.sign(simpleTags, []string{caseFrom, caseSubject}, "", false) + caseHead + "\r\n", key, "pass " + ed, "An empty body is one CRLF under simple (section 3.4.3)."},
		{"blank-body-relaxed", s.sign(relaxedTags, []string{caseFrom, caseSubject}, "", true) + caseHead + "\r\n \t\r\n\r\n", key, "pass " + ed, "A body of white space is an empty one under relaxed."},
		{"from-added", relaxed + "From: evil@example.net\r\n" + caseHead + "\r\n" + caseBody, key, "pass " + ed, "Fields are taken from the bottom (section 5.4.2): a From on top is not the signed one. The signature is good, and the message is refused for its two From fields."},
		{"from-added-below", relaxed + caseHead + "From: evil@example.net\r\n\r\n" + caseBody, key, "fail " + ed + " signature does not match", "At the bottom it would be the signed one."},
		{"over-signed", over + caseHead + "\r\n" + caseBody, key, "pass " + ed, "Names may be in h= more often than in the message, and counts for nothing then (section 5.4)."},
		{"over-signed-from-added", over + "From: evil@example.net\r\n" + caseHead + "\r\n" + caseBody, key, "fail " + ed + " signature does not match", "... until somebody adds one."},
		{"over-signed-list-added", over + "List-Id: <x.example.net>\r\n" + caseHead + "\r\n" + caseBody, key, "fail " + ed + " signature does not match", "The same for a field that was not there at all."},
		{"field-twice", twice + caseFrom + "Subject: above\r\nSubject: below\r\n\r\n" + caseBody, key, "pass " + ed, "Two fields of a name are signed bottom first (section 5.4.2)."},
		{"field-twice-swapped", twice + caseFrom + "Subject: below\r\nSubject: above\r\n\r\n" + caseBody, key, "fail " + ed + " signature does not match", "Their order counts."},
		{"length-exact", tagged("bh=", "l=20; bh=") + caseHead + "\r\n" + caseBody, key, "pass " + ed, "l= counts the octets of the canonical body. All are signed: nothing is left open."},
		{"length-shorter", s.sign(strings.Replace(relaxedTags, "bh=", "l=20; bh=", 1), []string{caseFrom, caseSubject}, caseBody, true) + caseHead + "\r\n" + caseBody + "Buy now\r\n", key, "fail " + ed + " l= does not cover the whole body", "What follows is not signed. Section 8.2 warns of it and lets verifiers refuse; we do, whatever it is."},
		{"length-longer", tagged("bh=", "l=21; bh=") + caseHead + "\r\n" + caseBody, key, "fail " + ed + " l= does not cover the whole body", "Less arrived than was signed (section 3.5: l= must not be more than the body)."},
		{"expired", tagged("t=1500000000", "t=1500000000; x=1500000001") + caseHead + "\r\n" + caseBody, key, "permerror " + ed0 + " signature expired", "x= is over (section 3.5)."},
		{"expires-before-signed", tagged("t=1500000000", "t=1600000000; x=1600000000") + caseHead + "\r\n" + caseBody, key, "permerror " + ed0 + " x= is not after t=", "x= must be greater than t= (section 3.5)."},
		{"signed-tomorrow", tagged("t=1500000000", "t=1528700000") + caseHead + "\r\n" + caseBody, key, "pass " + ed, "A t= in the future may be ignored (section 3.5); clocks differ."},
		{"identity-subdomain", tagged("d=example.org", "d=example.org; i=joe@Sub.Example.org") + caseHead + "\r\n" + caseBody, key, "pass " + ed, "i= may be a subdomain of d=, whatever its case (section 3.5)."},
		{"identity-outside", tagged("d=example.org", "d=example.org; i=joe@badexample.org") + caseHead + "\r\n" + caseBody, key, "permerror " + ed0 + " i= is not within d=", "A name that only ends like d= is no subdomain of it."},
		{"strict-key", tagged("d=example.org", "d=example.org; i=joe@sub.example.org") + caseHead + "\r\n" + caseBody, s.record("t=s; "), "permerror " + ed + " key has t=s and i= is a subdomain", "The flag s of the key forbids subdomains in i= (section 3.6.1)."},
		{"testing-key", relaxed + caseHead + "\r\n" + caseBody, s.record("t=y:x; "), "pass " + ed, "The flag y changes nothing about a signature that verifies; unknown flags are ignored (section 3.6.1)."},
		{"revoked-key", relaxed + caseHead + "\r\n" + caseBody, "v=DKIM1; k=ed25519; p=", "permerror " + ed0 + " key revoked", "An empty p= revokes (section 3.6.1)."},
		{"key-of-another-type", relaxed + caseHead + "\r\n" + caseBody, "v=DKIM1; p=" + key[strings.Index(key, "p=")+2:], "permerror " + ed0 + " malformed RSA key", "Without k= a key is RSA (section 3.6.1)."},
		{"key-for-other-hash", relaxed + caseHead + "\r\n" + caseBody, s.record("h=sha1; "), "permerror " + ed + " key is for another hash algorithm", "h= of the key lists what it may be used with."},
		{"key-for-other-service", relaxed + caseHead + "\r\n" + caseBody, s.record("s=tlsrpt; "), "permerror " + ed + " key is for another service", "s= of the key must be * or email."},
		{"key-with-spaces", relaxed + caseHead + "\r\n" + caseBody, "v=DKIM1; k=ed25519; p = " + spread(key[strings.Index(key, "p=")+2:]), "pass " + ed, "White space may stand anywhere in p= (section 3.6.1)."},
		{"key-without-version", relaxed + caseHead + "\r\n" + caseBody, strings.TrimPrefix(key, "v=DKIM1; "), "pass " + ed, "v= is optional in key records."},
		{"two-keys", relaxed + caseHead + "\r\n" + caseBody, key + "\n" + key, "permerror " + ed0 + " several key records", "Section 3.6.2.2 leaves several records undefined: no choice is a right one."},
		{"no-key", relaxed + caseHead + "\r\n" + caseBody, "", "permerror " + ed0 + " no key record", "There is no record (section 6.1.2)."},
		{"from-unsigned", s.sign(strings.Replace(relaxedTags, "h=From:Subject", "h=Subject", 1), []string{caseSubject}, caseBody, true) + caseHead + "\r\n" + caseBody, key, "permerror " + ed0 + " From is not signed", "From must be signed (section 5.4)."},
		{"duplicate-tag", tagged("s=s", "s=s; d=example.org") + caseHead + "\r\n" + caseBody, key, "permerror    0 malformed tag list", "A tag that is there twice spoils the list (section 3.2)."},
		{"unknown-tag", tagged("s=s", "s=s; z9_x=what ever") + caseHead + "\r\n" + caseBody, key, "pass " + ed, "Unknown tags are ignored (section 3.2)."},
		{"body-changed", relaxed + caseHead + "\r\n" + strings.Replace(caseBody, "bye", "Bye", 1), key, "fail " + ed + " body hash does not match", "bh= is over other octets (section 6.1.3)."},
		{"two-signatures", strings.Replace(relaxed, "b=", "b=AAAA", 1) + simple + caseHead + "\r\n" + caseBody, key, "fail " + ed + " signature does not match\npass " + ed, "Each signature stands for itself (section 6.1)."},
		{"algorithm-in-capitals", tagged("ed25519-sha256", "Ed25519-SHA256") + caseHead + "\r\n" + caseBody, key, "permerror example.org s Ed25519-SHA256 0 unknown algorithm", "Values compare with case unless their description says otherwise (section 3.2), although ABNF would not (RFC 5234 section 2.3)."},
		{"canonicalisation-in-capitals", tagged("c=relaxed/relaxed", "c=Relaxed/relaxed") + caseHead + "\r\n" + caseBody, key, "permerror " + ed0 + " unknown canonicalisation", "The same for c=."},
		{"query-in-capitals", tagged("s=s", "s=s; q=DNS/txt") + caseHead + "\r\n" + caseBody, key, "permerror " + ed0 + " unknown query method", "The same for q=."},
		{"tag-in-capitals", tagged("s=s", "s=s; D=example.net") + caseHead + "\r\n" + caseBody, key, "pass " + ed, "Names of tags have case: D= is an unknown tag (section 3.2)."},
		{"domain-in-capitals", tagged("d=example.org; s=s", "d=EXAMPLE.org; s=S; i=Joe@example.ORG") + caseHead + "\r\n" + caseBody, key, "pass example.org S ed25519-sha256 256", "Domain names have none."},
		{"fields-in-capitals", tagged("h=From:Subject", "h=FROM:subject") + caseHead + "\r\n" + caseBody, key, "pass " + ed, "Nor have names of fields (section 3.5, h=)."},
		{"key-version-in-capitals", relaxed + caseHead + "\r\n" + caseBody, strings.Replace(key, "DKIM1", "dkim1", 1), "permerror " + ed0 + " key record of another version", "v= of the key is compared as a string (section 3.6.1)."},
		{"key-type-in-capitals", relaxed + caseHead + "\r\n" + caseBody, strings.Replace(key, "ed25519", "ED25519", 1), "permerror " + ed0 + " unknown key type", "Values of key records compare with case, too."},
		{"key-hash-in-capitals", relaxed + caseHead + "\r\n" + caseBody, s.record("h=SHA256; "), "permerror " + ed + " key is for another hash algorithm", "An unknown hash is ignored, and no other is listed."},
		{"key-flag-in-capitals", tagged("d=example.org", "d=example.org; i=joe@sub.example.org") + caseHead + "\r\n" + caseBody, s.record("t=S; "), "pass " + ed, "S is an unknown flag, and ignored."},
		{"sha1", strings.Replace(relaxed, "ed25519-sha256", "rsa-sha1", 1) + caseHead + "\r\n" + caseBody, key, "permerror example.org s rsa-sha1 0 rsa-sha1 is no longer acceptable", "RFC 8301 section 3.1."},
	} {
		base := "testdata/cases/" + c.name
		dns := ""
		for line := range strings.Lines(c.dns) {
			dns += "s._domainkey.example.org " + strings.TrimSpace(line) + "\n"
		}
		for ext, text := range map[string]string{".msg": strings.ReplaceAll(c.message, "\r\n", "\n"), ".dns": dns, ".result": c.result + "\n", ".readme": c.readme + "\n"} {
			if err := os.WriteFile(base+ext, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// spread puts white space between the letters of a key.
func spread(s string) string { return strings.Join(strings.SplitAfter(s, "V"), " ") }
