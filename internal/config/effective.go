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
		path := fmt.Sprintf("domain[%d]", i)
		for _, f := range fields(domains.Index(i)) {
			for target := range strings.FieldsSeq(f.Tag.Get("sets")) {
				d.spread(f, path, lookup(domains.Index(i), target), target)
			}
		}
		for _, f := range fields(domains.Index(i)) {
			if from := f.Tag.Get("inherit"); from != "" {
				d.inheritValue(f.value, lookup(root, from).value, join(path, f.key), from)
			}
		}
	}
}

// spread gives the value of f to a key that it stands for.
func (d *decoder) spread(f field, path string, to field, target string) {
	_, given := d.origins[join(path, target)]
	if d.origins[join(path, f.key)].line == 0 || f.value.IsZero() || given {
		return
	}
	if problem, _ := outside(to, f.value); problem == "" {
		to.value.Set(f.value)
		d.origins[join(path, target)] = origin{from: join(path, f.key)}
	}
}

func (d *decoder) inheritValue(to, from reflect.Value, path, fromPath string) {
	if isTable(to.Type()) {
		for _, f := range fields(to) {
			d.inheritValue(f.value, lookup(from, f.key).value, join(path, f.key), join(fromPath, f.key))
		}
		return
	}
	if _, given := d.origins[path]; !given {
		to.Set(from)
		d.origins[path] = origin{from: fromPath}
	}
}

// lookup finds the field of a dotted path of keys. The paths come from tags:
// one that is not there is a mistake in this package.
func lookup(v reflect.Value, path string) field {
	key, rest, more := strings.Cut(path, ".")
	for _, f := range fields(v) {
		if f.key == key {
			if more {
				return lookup(f.value, rest)
			}
			return f
		}
	}
	panic("config: no key " + path)
}
