package configs_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mailweir/filter/rules"
	"mailweir/internal/config"
	"mailweir/internal/mailtest"
)

// loaders are, by pattern, what loads each file of this folder as its user
// will. The tests named in comments look deeper.
var loaders = map[string]func(*testing.T, string){
	"reference.toml":             loadConfig,
	"gateway.toml":               loadConfig,
	"bench-*.toml":               checkConfig, // and internal/config
	"rules/*.toml":               loadRules,   // and filter/rules
	"systemd/mailweir.*":         verifyUnit,
	"grafana/mailweir.json":      func(t *testing.T, _ string) { loadDashboard(t) }, // TestDashboard, TestNames
	"prometheus/prometheus.yml":  promtoolFile("check", "config"),
	"prometheus/alerts.yml":      promtoolFile("check", "rules"), // TestPrometheus
	"prometheus/alerts_test.yml": nil,                            // TestPromtool: it takes a while
}

// TestEveryFile: nothing in this folder is only looked at by people.
func TestEveryFile(t *testing.T) {
	used := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) == ".go" {
			return err
		}
		pattern, load := loaderOf(path)
		if pattern == "" {
			t.Errorf("nothing loads %s", path)
		}
		used[pattern] = true
		if load != nil {
			t.Run(path, func(t *testing.T) { load(t, path) })
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pattern := range loaders {
		if !used[pattern] {
			t.Errorf("there is no file %s", pattern)
		}
	}
}

func loaderOf(path string) (string, func(*testing.T, string)) {
	for pattern, load := range loaders {
		if ok, _ := filepath.Match(pattern, path); ok {
			return pattern, load
		}
	}
	return "", nil
}

func promtoolFile(args ...string) func(*testing.T, string) {
	return func(t *testing.T, path string) { promtool(t, nil, append(args, path)...) }
}

// loadConfig reads a config on a machine that has none of the files it names.
func loadConfig(t *testing.T, path string) {
	c, err := config.Load(path, config.Known{SkipFiles: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Listeners) == 0 || len(c.Domains) == 0 {
		t.Error("it listens nowhere, or for nobody")
	}
}

// checkConfig lets the gateway itself check a config that names no files.
func checkConfig(t *testing.T, path string) {
	loadConfig(t, path)
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "config", "check", "--config", path).CombinedOutput(); err != nil {
		t.Errorf("config check: %v\n%s", err, out)
	}
}

// loadRules compiles one file with those it may lean on: groups and patterns
// are defined once for all of them.
func loadRules(t *testing.T, path string) {
	paths, err := filepath.Glob("rules/*.toml")
	if err != nil {
		t.Fatal(err)
	}
	var files []rules.File
	found := false
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, rules.File{Name: p, Data: data})
		found = found || p == path
	}
	if _, err := rules.Load(files...); err != nil || !found {
		t.Errorf("found %v, %v", found, err)
	}
}

// TestInstallSteps: what the README says to install is what the unit starts, as
// the user that the README makes, with the config that it puts in place.
func TestInstallSteps(t *testing.T) {
	unit, err := os.ReadFile("systemd/mailweir.service")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ setting, step string }{
		{`(?m)^ExecStart=(\S+) run --config`, "install -m 755 gateway %s\n"},
		{`(?m)^ExecStart=\S+ run --config (\S+)$`, "configs/gateway.toml %s "},
		{`(?m)^User=(\S+)$`, "/usr/sbin/nologin %s\n"},
	} {
		found := regexp.MustCompile(c.setting).FindSubmatch(unit)
		if found == nil {
			t.Errorf("the unit has no %s", c.setting)
		} else if step := fmt.Sprintf(c.step, found[1]); !strings.Contains(string(readme), step) {
			t.Errorf("the README does not say %q", step)
		}
	}
}

// verifyUnit lets systemd judge a unit, in a copy where the program is what is
// here.
func verifyUnit(t *testing.T, path string) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		mailtest.SkipHarness(t, "systemd-analyze is not installed (package systemd)")
	}
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	units, err := filepath.Glob("systemd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range units { // all of them: they require each other
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		here := strings.ReplaceAll(string(text), "/usr/local/bin/gateway", program)
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(unit)), []byte(here), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("systemd-analyze", "verify", filepath.Join(dir, filepath.Base(path)))
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) > 0 { // an unknown directive is a warning, with exit status 0
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
