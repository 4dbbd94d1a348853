package config

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"
)

const configs = "../../configs/"

// shipped are the names of the checks that the shipped files may switch off.
var shipped = Known{
	Checks:    []string{"dnsbl", "iprev", "spf", "spf_helo", "dkim", "arc", "mime", "content", "attachment", "clamav", "dmarc", "uribl", "reputation", "bayes", "greylist", "vip", "access", "rules"},
	SkipFiles: true,
}

// TestReference holds configs/reference.toml against the structs: every key is
// there, and what it calls a default is one.
func TestReference(t *testing.T) {
	data, err := os.ReadFile(configs + "reference.toml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(configs+"reference.toml", data, shipped)
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]int{}
	for path, o := range c.origins {
		if line := given[plainKey(path)]; o.line > 0 && (line == 0 || o.line < line) {
			given[plainKey(path)] = o.line
		}
	}
	for _, key := range schemaKeys(reflect.TypeFor[Config](), "") {
		if given[key] == 0 && !strings.HasPrefix(key, "domain.") || given[key] == 0 && strings.Count(key, ".") == 1 {
			t.Errorf("%s is missing", key)
		}
	}
	lines := strings.Split(string(data), "\n")
	checkDefaults(t, reflect.ValueOf(c).Elem(), "", c, lines)
	for i, line := range lines {
		if line != strings.TrimRight(line, " \t") {
			t.Errorf("line %d ends in white space", i+1)
		}
	}
}

// checkDefaults: a line says "# default" if and only if its value is the
// default of its key.
func checkDefaults(t *testing.T, v reflect.Value, path string, c *Config, lines []string) {
	for _, f := range fields(v) {
		at := join(path, f.key)
		switch {
		case isTable(f.Type):
			checkDefaults(t, f.value, at, c, lines)
		case isTables(f.Type):
			for i := range f.value.Len() {
				checkDefaults(t, f.value.Index(i), at+"["+string(rune('0'+i))+"]", c, lines)
			}
		case c.origins[at].line > 0:
			text, has := f.Tag.Lookup("default")
			isDefault := has && !strings.HasPrefix(path, "domain") && reflect.DeepEqual(mustParse(f.Type, text).Interface(), f.value.Interface())
			line := lines[c.origins[at].line-1]
			if says := strings.HasSuffix(line, "# default"); says != isDefault {
				t.Errorf("%s: %q; is the default: %v", at, line, isDefault)
			}
		}
	}
}

// TestShipped loads the other files of configs/.
func TestShipped(t *testing.T) {
	for _, name := range []string{"gateway.toml", "bench-relay.toml"} {
		c, err := Load(configs+name, shipped)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		var b bytes.Buffer
		if err := c.Show(&b); err != nil || b.Len() == 0 {
			t.Error(err)
		}
	}
}

// TestBenchRelay: the benchmark measures a normal gateway, only without checks.
func TestBenchRelay(t *testing.T) {
	c, err := Load(configs+"bench-relay.toml", shipped)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.Checks.Disabled, shipped.Checks) {
		t.Errorf("checks that run: %v", c.Checks.Disabled)
	}
	minimal, err := load(t, "testdata/good/minimal.toml")
	if err != nil {
		t.Fatal(err)
	}
	if c.Limits != minimal.Limits || c.Queue != minimal.Queue || c.Score != minimal.Score {
		t.Errorf("limits, queue or score are not the defaults")
	}
	if c.Privacy.Redact == "none" || c.Listeners[0].Address != "127.0.0.1:17600" || c.Domains[0].NextHops[0] != "127.0.0.1:17590" {
		t.Errorf("%+v %+v %+v", c.Privacy, c.Listeners, c.Domains)
	}
}

// TestTags: the tags themselves make sense, for the decoder trusts them.
func TestTags(t *testing.T) {
	var walk func(t *testing.T, typ reflect.Type, path string)
	walk = func(t *testing.T, typ reflect.Type, path string) {
		for _, f := range fields(reflect.New(typ).Elem()) {
			at := join(path, f.key)
			if isTable(f.Type) {
				walk(t, f.Type, at)
				continue
			}
			if isTables(f.Type) {
				walk(t, f.Type.Elem(), at)
				continue
			}
			text, has := f.Tag.Lookup("default")
			if !has {
				continue
			}
			if problem, hint := outside(f, mustParse(f.Type, text)); problem != "" {
				t.Errorf("default of %s: %q %s; %s", at, text, problem, hint)
			}
		}
	}
	walk(t, reflect.TypeFor[Config](), "")
}
