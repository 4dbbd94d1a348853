package rules

import (
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"mailweir/filter"
	"mailweir/mail"
)

// maxOwn is how many recipients a sender's domain is compared with.
const maxOwn = 8

// recipientOrgs are the registered domains of the recipients.
func recipientOrgs(f *filter.Facts) (orgs []string) {
	for _, r := range f.Envelope.Recipients[:min(len(f.Envelope.Recipients), maxOwn)] {
		if i := strings.LastIndexByte(r, '@'); i >= 0 {
			if o := filter.Organization(mail.CanonicalDomain(r[i+1:])); len(orgs) == 0 || orgs[len(orgs)-1] != o {
				orgs = append(orgs, o)
			}
		}
	}
	return orgs
}

// ownDomain reports a domain that belongs to a recipient's organization.
func ownDomain(domain string, orgs []string) bool {
	for _, o := range orgs {
		if domain == o {
			return true
		}
	}
	return false
}

// lookalike reports a registered domain that a reader takes for that of a
// recipient: it reads the same letter for letter, or one letter is wrong,
// missing, added or swapped with the next in a name that is long enough.
func lookalike(domain string, orgs []string) bool {
	name := readAs(ownName(domain))
	for _, o := range orgs {
		own := readAs(ownName(o))
		if domain == o || name == "" || own == "" || ownName(domain) == ownName(o) {
			continue // the same name in another top-level domain is mostly its owner's
		}
		if name == own && len(own) >= 3 || len(own) >= minSlip && nearly(name, own) {
			return true
		}
	}
	return false
}

// minSlip is the shortest name of which another with one letter changed is
// hardly an accident.
const minSlip = 7

// ownName is a registered domain without its public suffix.
func ownName(domain string) string {
	suffix, _ := publicsuffix.PublicSuffix(domain)
	return strings.TrimSuffix(strings.TrimSuffix(domain, suffix), ".")
}

// readAs writes a name with the letters that a reader takes its letters for.
func readAs(name string) string {
	if strings.HasPrefix(name, "xn--") {
		if u, err := idna.Punycode.ToUnicode(name); err == nil {
			name = u
		}
	}
	return sameLooks.Replace(strings.ToLower(name))
}

// sameLooks are letters, and pairs of them, that look like others in the fonts
// of mail programs. What looks alike becomes the same, no matter which.
var sameLooks = strings.NewReplacer(
	"rn", "m", "vv", "w", "cl", "d", "-", "", "0", "o", "1", "l", "i", "l", "3", "e", "5", "s",
	"а", "a", "е", "e", "о", "o", "р", "p", "с", "c", "х", "x", "у", "y", "к", "k", "м", "m", "т", "t", "н", "h", "в", "b",
	"і", "l", "ј", "j", "ѕ", "s", "ԁ", "d", "ɡ", "g", "ӏ", "l", "α", "a", "ο", "o", "ν", "v", "ρ", "p", "ι", "l", "κ", "k",
	"á", "a", "à", "a", "â", "a", "ä", "a", "ã", "a", "å", "a", "ą", "a", "ạ", "a", "ç", "c", "č", "c", "é", "e", "è", "e",
	"ê", "e", "ë", "e", "ę", "e", "ė", "e", "ẹ", "e", "í", "l", "ì", "l", "î", "l", "ï", "l", "ı", "l", "ł", "l", "ñ", "n",
	"ń", "n", "ó", "o", "ò", "o", "ô", "o", "ö", "o", "õ", "o", "ø", "o", "ọ", "o", "š", "s", "ś", "s", "ú", "u", "ù", "u",
	"û", "u", "ü", "u", "ụ", "u", "ý", "y", "ÿ", "y", "ž", "z", "ż", "z",
)

// nearly reports that a and b differ by one letter that is wrong, missing or
// added, or by two neighbours that are swapped.
func nearly(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 || a == b {
		return a == b
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	if a[i+1:] == b[i+1:] {
		return true
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}
