package main

import (
	"errors"
	"fmt"
	"time"

	"mailweir/filter/arc"
	"mailweir/filter/dmarc"
	"mailweir/internal/config"
	"mailweir/internal/dkimcore"
	"mailweir/mail"
)

// loadSigner reads the keys of [[dkim]]; nil without any.
func loadSigner(cfg *config.Config) (*dkimcore.Signer, error) {
	if len(cfg.DKIM) == 0 {
		return nil, nil
	}
	var keys []*dkimcore.PrivateKey
	var errs []error
	for _, d := range cfg.DKIM {
		k, err := dkimcore.LoadPrivateKey(string(d.Domain), string(d.Selector), string(d.Key))
		if err != nil {
			errs = append(errs, fmt.Errorf("dkim %s of %s: %w", d.Selector, d.Domain, err))
			continue
		}
		keys = append(keys, k)
	}
	return dkimcore.NewSigner(keys), errors.Join(errs...)
}

// signOwn signs a message of our own, with the keys that are in force now.
func (g *gateway) signOwn(head, body []byte) []byte {
	h := mail.ParseHeader(head)
	var keys []*dkimcore.PrivateKey
	if a := dmarc.ParseAuthors(&h); len(a.Domains) == 1 {
		keys = g.signer.Load().Keys(a.Domains[0])
	}
	if len(keys) == 0 {
		return nil
	}
	hash, err := dkimcore.HashBody(mail.Bytes(body))
	if err != nil {
		return nil // never of bytes in memory
	}
	return dkimcore.AppendSignatures(nil, keys, &h, hash, time.Now())
}

// sealer is the ARC sealer of arc.seal, nil without one: with the first RSA key
// of the domain, since few verify seals by Ed25519.
func sealer(cfg *config.Config, signer *dkimcore.Signer) *arc.Sealer {
	if cfg.ARC.Seal == "" || signer == nil {
		return nil
	}
	keys := signer.Keys(string(cfg.ARC.Seal))
	for _, k := range keys {
		if k.Algorithm == "rsa-sha256" {
			return arc.NewSealer(k)
		}
	}
	return arc.NewSealer(keys[0])
}
