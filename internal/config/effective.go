package config

import (
	"fmt"
	"reflect"
	"strings"

	"mailweir/mail"
)

// Effective is the settings of one of our domains, with all that it inherits.
// ok is false for a domain that we do not accept mail for.
func (c *Config) Effective(domain string) (d Domain, ok bool) {
	i, ok := c.domains[mail.CanonicalDomain(domain)]
	if !ok {
		return Domain{}, false
	}
	return c.Domains[i], true
}

// inherit fills in, for every domain, the values that it does not give itself.
func (d *decoder) inherit(root reflect.Value) {
	domains := root.FieldByName("Domains")
	for i := range domains.Len() {
		for _, f := range fields(domains.Index(i)) {
			if from := f.Tag.Get("inherit"); from != "" {
				d.inheritValue(f.value, lookup(root, from), join(fmt.Sprintf("domain[%d]", i), f.key), from)
			}
		}
	}
}

func (d *decoder) inheritValue(to, from reflect.Value, path, fromPath string) {
	if isTable(to.Type()) {
		for _, f := range fields(to) {
			d.inheritValue(f.value, lookup(from, f.key), join(path, f.key), join(fromPath, f.key))
		}
		return
	}
	if _, given := d.origins[path]; !given {
		to.Set(from)
		d.origins[path] = origin{from: fromPath}
	}
}

// lookup finds the value of a dotted path of keys. The paths come from tags:
// one that is not there is a mistake in this package.
func lookup(v reflect.Value, path string) reflect.Value {
	key, rest, more := strings.Cut(path, ".")
	for _, f := range fields(v) {
		if f.key == key {
			if more {
				return lookup(f.value, rest)
			}
			return f.value
		}
	}
	panic("config: no key " + path)
}
