package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"mailweir/internal/dkimcore"
)

// near finds a text that was meant to be a record, and that nobody takes for
// one: with quotes or a space before it, of another version, without what has to
// follow the version.
func near(texts []string, version string) string {
	for _, text := range texts {
		if strings.HasPrefix(strings.ToLower(strings.TrimLeft(text, " \t\"'\\")), version) {
			return text
		}
	}
	return ""
}

// mechanisms are the names that stand before a colon, and never before "=".
var mechanisms = []string{"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"}

// spfAdvice tells what a record does not say, though it looks as if it did.
func spfAdvice(record string) (list []string) {
	all := ""
	for _, term := range strings.Fields(strings.ToLower(record))[1:] {
		name, _, modifier := strings.Cut(term, "=")
		mechanism, _, _ := strings.Cut(strings.TrimLeft(term, "+-~?"), ":")
		mechanism, _, _ = strings.Cut(mechanism, "/")
		switch {
		case modifier && slices.Contains(mechanisms, name):
			list = append(list, fmt.Sprintf("%s is read over, as an unknown modifier: %s: is meant", term, name))
		case all != "" && !strings.HasPrefix(term, "exp="):
			list = append(list, fmt.Sprintf("%s is never looked at: it stands behind %s", term, all))
		case mechanism == "ptr":
			list = append(list, "ptr is slow and fails often: RFC 7208 section 5.5 asks not to use it")
		case mechanism == "all":
			all = term
		}
	}
	return list
}

// policyTags are those of RFC 9989 and RFC 7489 with a closed set of values; any
// for the others.
var policyTags = map[string]string{
	"v": "any", "p": "any", "sp": "any", "np": "any", "rua": "any", "ruf": "any", "fo": "any",
	"adkim": "r or s", "aspf": "r or s", "t": "y or n", "psd": "y, n or u", "pct": "any", "rf": "any", "ri": "any",
}

// policyAdvice tells which tags of a policy record have no effect.
func policyAdvice(record string) (list []string) {
	for tag := range strings.SplitSeq(record, ";") {
		name, value, ok := strings.Cut(strings.ToLower(tag), "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		values, known := policyTags[name]
		switch {
		case strings.TrimSpace(tag) == "":
		case !ok, !known:
			list = append(list, fmt.Sprintf("%q is no tag of DMARC, and read over", strings.TrimSpace(tag)))
		case values != "any" && (len(value) != 1 || !strings.Contains(values, value)):
			list = append(list, fmt.Sprintf("%s=%s has no effect: it must be %s", name, value, values))
		}
	}
	return list
}

// twice finds a record in a place where zone files put it when a name in them
// lacks its final dot.
func (t *authTrace) twice(ctx context.Context, name string) string {
	wrong := name + "." + t.Domain
	if len(wrong) > 253 {
		return ""
	}
	if txts, err := t.dns.LookupTXT(ctx, wrong); err != nil || len(txts) == 0 {
		return ""
	}
	return fmt.Sprintf("there is one at %s: the zone has its own name twice", wrong)
}

// keyAdvice tells why no signature, or not every one, can use a key that is
// well-formed itself.
func keyAdvice(k *dkimcore.Key) (list []string) {
	if err := k.Usable(); err != nil {
		list = append(list, err.Error()+": no signature of mail passes with it")
	}
	if k.Testing {
		list = append(list, "t=y: failures are treated like unsigned mail")
	}
	return list
}

// withoutType is said of a key that cannot be read and does not say what it is.
func withoutType(record string) string {
	tags, err := dkimcore.ParseTags(record)
	if _, typed := dkimcore.Lookup(tags, "k"); err != nil || typed {
		return ""
	}
	return "; without k= it is taken for an RSA key"
}
