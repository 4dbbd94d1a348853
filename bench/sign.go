package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/emersion/go-msgauth/dkim"
)

// signer signs as the sender's domain, with a key of its own.
type signer struct{ key *rsa.PrivateKey }

func newSigner() (*signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	return &signer{key}, err
}

// record is the TXT record of the key, in pieces of at most 255 octets.
func (s *signer) record() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	if err != nil {
		return "", err
	}
	text := "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	return fmt.Sprintf("%q %q", text[:200], text[200:]), nil
}

// sign adds one signature, rsa-sha256 and relaxed/relaxed: what most mail has.
func (s *signer) sign(message []byte) ([]byte, error) {
	var out bytes.Buffer
	err := dkim.Sign(&out, bytes.NewReader(message), &dkim.SignOptions{
		Domain: senderDomain, Selector: selector, Signer: s.key,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed,
		BodyCanonicalization:   dkim.CanonicalizationRelaxed,
		HeaderKeys:             []string{"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"},
	})
	return out.Bytes(), err
}

// loadSigner takes the key from a PEM file, which it makes when it is missing.
func loadSigner(file string) (*signer, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		s, err := newSigner()
		if err != nil {
			return nil, err
		}
		block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(s.key)}
		return s, os.WriteFile(file, pem.EncodeToMemory(block), 0o600)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%s is no PEM file", file)
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	return &signer{key}, err
}

const messageHelp = `
go run ./bench message [FLAG...]

Writes the built-in message, DKIM-signed as selector s1 of sender.test, to
standard output, for load generators other than our own.
`

func messageCommand(_ context.Context, out, errs io.Writer, args []string) error {
	fs := flags(out, errs, "message", messageHelp)
	name := fs.String("m", "4k", "4k, 64k or any size: a built-in multipart message; else a `FILE`")
	key := fs.String("key", "", "PEM `FILE` of the RSA key; made when it is missing; default: a new key")
	record := fs.String("record", "", "write the key's TXT record to this `FILE`")
	lf := fs.Bool("lf", false, "end lines with LF, as files have them")
	if err := parse(fs, errs, args); err != nil {
		return err
	}
	message, err := loadMessage(*name)
	if err != nil {
		return err
	}
	var s *signer
	if *key == "" {
		s, err = newSigner()
	} else {
		s, err = loadSigner(*key)
	}
	if err != nil {
		return err
	}
	if *record != "" {
		text, err := s.record()
		if err != nil {
			return err
		}
		if err := os.WriteFile(*record, []byte(text+"\n"), 0o644); err != nil {
			return err
		}
	}
	signed, err := s.sign(message)
	if err != nil {
		return err
	}
	if *lf {
		signed = bytes.ReplaceAll(signed, []byte("\r\n"), []byte("\n"))
	}
	_, err = out.Write(signed)
	return err
}
