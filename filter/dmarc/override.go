package dmarc

import (
	"net/netip"
	"slices"

	"mailweir/filter"
	"mailweir/mail"
)

// Options are the exceptions from what Domain Owners ask for.
type Options struct {
	Overrides []Override
	// TrustedSealers are the domains whose ARC seals are believed, canonical.
	TrustedSealers []string
	// Reports keeps in the facts what an aggregate report needs: the policy
	// record, where it asks for one.
	Reports bool
}

// Override lets failures pass without consequences. One of Network, Domain and
// Author is set.
type Override struct {
	Network netip.Prefix // of the client
	Domain  string       // that SPF or a DKIM signature passed for, or one below it; canonical
	Author  string       // the Author Domain, or one below it; canonical
	To      string       // where all recipients must be, canonical; "" for anywhere
	Reason  string       // "forwarded", "mailing_list", "trusted_forwarder", "local_policy"
}

// TrustedForwarder is the reason when ARC has convinced us.
const TrustedForwarder = "trusted_forwarder"

// override is why a failure of author does not matter, and what says so: the
// first entry that fits, else ARC.
func (o *Options) override(tx *filter.Transaction, author string) (reason, by string) {
	for i := range o.Overrides {
		if v := &o.Overrides[i]; v.fits(tx, author) {
			return v.Reason, v.name()
		}
	}
	if sealer := o.sealer(&tx.Facts.ARC, author); sealer != "" {
		return TrustedForwarder, "ARC of " + sealer
	}
	return "", ""
}

func (v *Override) fits(tx *filter.Transaction, author string) bool {
	if v.To != "" && !v.reaches(tx.Envelope) {
		return false
	}
	switch {
	case v.Network.IsValid():
		return tx.Client != nil && v.Network.Contains(tx.Client.Addr)
	case v.Author != "":
		return mail.WithinDomain(author, v.Author)
	}
	f := tx.Facts
	return f.SPF.Result == "pass" && mail.WithinDomain(f.SPF.Domain, v.Domain) ||
		slices.ContainsFunc(f.DKIM, func(d filter.DKIMFacts) bool {
			return d.Result == "pass" && mail.WithinDomain(d.Domain, v.Domain)
		})
}

// reaches tells that a message goes to nobody outside of To: it has one result.
func (v *Override) reaches(env *mail.Envelope) bool {
	return env != nil && !slices.ContainsFunc(env.Recipients, func(r mail.Recipient) bool {
		return mail.CanonicalDomain(r.Path.Domain()) != v.To
	})
}

func (v *Override) name() string {
	switch {
	case v.Network.IsValid():
		return "client in " + v.Network.String()
	case v.Author != "":
		return "author " + v.Author
	}
	return "authenticated " + v.Domain
}

// sealer is the trusted sealer that saw DMARC pass for author: the newest one,
// or an older one when all that have sealed after it are trusted too. Whoever
// is not trusted may have changed anything, From included.
func (o *Options) sealer(a *filter.ARCFacts, author string) string {
	if a.Result != "pass" || !a.FromSigned || len(a.Vouched) != len(a.Sealers) {
		return ""
	}
	for i, sealer := range slices.Backward(a.Sealers) {
		if !slices.ContainsFunc(o.TrustedSealers, func(t string) bool { return mail.WithinDomain(sealer, t) }) {
			return ""
		}
		if a.Vouched[i] == author {
			return sealer
		}
	}
	return ""
}
