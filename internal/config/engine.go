package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Engine is one [[engine]]: another filter that is asked what it thinks of a
// message.
type Engine struct {
	Name       string        `toml:"name" required:"yes"`
	Type       string        `toml:"type" required:"yes" enum:"rspamd|spamassassin|milter"`
	Address    ScannerAddr   `toml:"address" required:"yes"`
	Timeout    time.Duration `toml:"timeout" default:"10s" min:"100ms" max:"4m"`
	Weight     float64       `toml:"weight" default:"1.0" min:"0" max:"100"`
	Cap        float64       `toml:"cap" default:"6.0" min:"0" max:"1000"`
	Symbols    []string      `toml:"symbols"` // that are shown by name
	MaxSize    Size          `toml:"max_size" default:"1MiB" min:"1KiB" max:"2GiB"`
	Concurrent int           `toml:"concurrent" default:"10" min:"1" max:"1000"`
	OnError    string        `toml:"on_error" default:"accept" enum:"accept|defer|quarantine"`
	// Local: it asks no DNS by itself, so that `check --no-dns` may ask it.
	Local bool `toml:"local" default:"false"`
}

// Split gives what net.Dial takes.
func (a ScannerAddr) Split() (network, address string) {
	if path, ok := strings.CutPrefix(string(a), "unix:"); ok {
		return "unix", path
	}
	return "tcp", string(a)
}

// maxEngineSymbols bounds what becomes names of symbols, and with it the labels
// of a metric.
const maxEngineSymbols = 200

func (v *validator) engines() {
	seen := map[string]bool{}
	for i, e := range v.c.Engines {
		path := fmt.Sprintf("engine[%d]", i)
		name := join(path, "name")
		switch {
		case e.Name == "":
		case !word(e.Name, 'a', 'z'):
			v.at(name, fmt.Sprintf("%q is not a name", e.Name), `write for example "rspamd": small letters, digits and _, 60 at most`)
		case slices.Contains(v.known.Checks, e.Name):
			v.at(name, fmt.Sprintf("%q is a check of the gateway's own", e.Name), "choose another name")
		case seen[e.Name]:
			v.at(name, fmt.Sprintf("%q is there twice", e.Name), "give each engine a name of its own")
		}
		seen[e.Name] = true
		if len(e.Symbols) > maxEngineSymbols {
			v.at(join(path, "symbols"), fmt.Sprintf("has %d names", len(e.Symbols)), fmt.Sprintf("write at most %d: all others count together", maxEngineSymbols))
		}
		for k, s := range e.Symbols {
			if !word(s, 'A', 'Z') {
				v.at(join(path, "symbols"), fmt.Sprintf("%q is not a symbol", s), `write for example ["BAYES_SPAM"]: capitals, digits and _`)
			} else if slices.Contains(e.Symbols[:k], s) || s == "OTHER" || s == "CAP" {
				v.at(join(path, "symbols"), fmt.Sprintf("%q is taken already", s), "write it once; OTHER and CAP are what the gateway adds")
			}
		}
	}
}

// word reports a name of letters from a to z, digits and _, that begins with a
// letter.
func word(s string, a, z byte) bool {
	if s == "" || len(s) > 60 || s[0] < a || s[0] > z {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < rune(a) || r > rune(z)) && (r < '0' || r > '9') && r != '_'
	})
}
