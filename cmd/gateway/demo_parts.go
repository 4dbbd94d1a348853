package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"text/template"
	"time"

	"mailweir/internal/config"
	"mailweir/internal/dns/dnstest"
)

// startDNS serves the demo's zones, with a fresh DKIM key in them.
func (d *demo) startDNS() error {
	zone, err := demoFiles.ReadFile("demo/zone.txt")
	if err != nil {
		return err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	d.signer = private
	record := fmt.Sprintf("demo._domainkey.sender.example. 300 TXT \"v=DKIM1; k=ed25519; p=%s\"\n",
		base64.StdEncoding.EncodeToString(public))
	d.dns, err = dnstest.New(string(zone) + record)
	return err
}

// localClamd is the socket of a clamd with its usual address, if one answers.
func localClamd() string {
	for _, path := range []string{"/run/clamav/clamd.ctl", "/run/clamd.scan/clamd.sock", "/var/run/clamav/clamd.sock"} {
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return path
		}
	}
	return ""
}

// config loads the embedded file like any other.
func (d *demo) config(verbose bool) (*config.Config, error) {
	text, err := demoFiles.ReadFile("demo/gateway.toml")
	if err != nil {
		return nil, err
	}
	t, err := template.New("gateway.toml").Parse(string(text))
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	level := "warn"
	if verbose {
		level = "info"
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]string{
		"DataDir": filepath.Join(d.dir, "data"), "Listen": ports[0], "Metrics": ports[1],
		"DNS": d.dns.Addr(), "Sink": d.sink.addr, "ClamAV": d.clamav, "Level": level,
	})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(d.dir, "gateway.toml")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		return nil, err
	}
	return loadConfig(path)
}

// freePorts finds ports for a config file, which wants numbers.
func freePorts(n int) ([]string, error) {
	var list []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		list = append(list, l.Addr().String())
	}
	return list, nil
}
