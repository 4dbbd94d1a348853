package dmarc_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"mailweir/filter"
	"mailweir/filter/dkim"
	"mailweir/filter/dmarc"
	"mailweir/filter/spf"
	"mailweir/internal/dns"
	"mailweir/internal/dns/dnstest"
	"mailweir/mail"
)

// The budget of the three checks together: 90 us of CPU for 4 KB, 400 us for
// 64 KB, with one RSA-2048 signature, and with warm DNS: every answer is in the
// cache of the resolver that the gateway runs with.
func BenchmarkAuth4K(b *testing.B)  { benchmarkAuth(b, 4<<10) }
func BenchmarkAuth64K(b *testing.B) { benchmarkAuth(b, 64<<10) }

func benchmarkAuth(b *testing.B, size int) {
	message, zone := signedMessage(b, size)
	resolver, err := dns.New(dns.Options{Servers: []string{dnstest.Start(b, zone)}})
	if err != nil {
		b.Fatal(err)
	}
	n, _ := mail.HeaderLength(message)
	checks := []filter.Check{spf.New(resolver, spf.Options{}), dkim.New(resolver), dmarc.New(resolver, dmarc.Options{})}
	client := &mail.Client{Addr: netip.MustParseAddr("192.0.2.1"), Helo: "mx.example.org"}
	envelope := &mail.Envelope{ReversePath: "bounce@mail.example.org"}
	b.ReportAllocs()
	b.SetBytes(int64(len(message)))
	start := cpu()
	for b.Loop() {
		h := mail.ParseHeader(message[:n])
		tx := &filter.Transaction{Client: client, Envelope: envelope, Header: &h, Content: mail.Bytes(message), Facts: &filter.Facts{}}
		for _, c := range checks {
			report := c.Run(context.Background(), tx)
			report.Set(tx.Facts)
		}
		if f := tx.Facts; f.SPF.Result != "pass" || f.DKIM[0].Result != "pass" || f.DMARC.Result != "pass" {
			b.Fatalf("%+v", f)
		}
	}
	b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op")
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// signedMessage is a text message of about size octets with one RSA-2048
// signature over the usual fields, and the zone that makes it pass.
func signedMessage(b *testing.B, size int) (message []byte, zone string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		b.Fatal(err)
	}
	var m strings.Builder
	for i := range 3 {
		fmt.Fprintf(&m, "Received: from a%d.example.org (a%d.example.org [203.0.113.7])\r\n\tby b.example.org with ESMTPS id 4711\r\n\tfor <joe@example.net>; Sat, 21 Nov 2026 20:00:00 +0000\r\n", i, i)
	}
	m.WriteString("From: Alice <alice@example.org>\r\nTo: Joe <joe@example.net>\r\nSubject: The minutes of our meeting\r\n" +
		"Date: Sat, 21 Nov 2026 20:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	for m.Len() < size {
		m.WriteString("The quick brown fox jumps over the lazy dog, and then it does so once more.\r\n")
	}
	var out bytes.Buffer
	err = msgauth.Sign(&out, strings.NewReader(m.String()), &msgauth.SignOptions{
		Domain: "example.org", Selector: "s2026", Signer: key, Hash: crypto.SHA256,
		HeaderCanonicalization: "relaxed", BodyCanonicalization: "relaxed",
		HeaderKeys: []string{"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"},
	})
	if err != nil {
		b.Fatal(err)
	}
	k := base64.StdEncoding.EncodeToString(der)
	return out.Bytes(), `
mail.example.org             TXT "v=spf1 include:_a.example.org include:_b.example.org -all"
_a.example.org               TXT "v=spf1 ip4:198.51.100.0/24 ip6:2001:db8::/32 ~all"
_b.example.org               TXT "v=spf1 ip4:203.0.113.0/24 ip4:192.0.2.0/24 ~all"
s2026._domainkey.example.org TXT "v=DKIM1; k=rsa; p=` + k[:200] + `" "` + k[200:] + `"
_dmarc.example.org           TXT "v=DMARC1; p=reject; rua=mailto:d@example.org"
`
}
