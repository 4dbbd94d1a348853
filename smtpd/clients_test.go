package smtpd

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
)

// TestRealClients lets clients that others wrote talk to the engine.
func TestRealClients(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		n    int
	}{
		{"smtp-source", []string{"-c", "-s", "5", "-m", "50", "-r", "3", "-l", "5000", "-f", "a@client.example", "-t", "b@example.org"}, 50},
		{"smtp-source", []string{"-d", "-s", "2", "-m", "20", "-l", "300", "-f", "a@client.example", "-t", "b@example.org"}, 20},
		{"swaks", []string{"-tls", "--from", "a@client.example", "--to", "b@example.org,c@example.org", "--server"}, 1},
		{"swaks", []string{"--pipeline", "--from", "<>", "--to", "b@example.org", "--xclient", "ADDR=192.0.2.1 NAME=x.example", "--server"}, 1},
	} {
		t.Run(c.name+c.args[0], func(t *testing.T) {
			path, err := exec.LookPath(c.name)
			if err != nil {
				t.Skip(c.name + " is not installed")
			}
			d := &desk{}
			_, addr := serve(t, d, ListenerOptions{TrustedProxies: loopback}, withTLS(t))
			out, err := exec.Command(path, append(c.args, addr.String())...).CombinedOutput()
			if strings.Contains(string(out), "requires Net::SSLeay") {
				t.Skip("swaks has no TLS here")
			}
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			d.wantLetters(t, c.n)
		})
	}
}

// TestGoSMTPClient: its client is what verifies recipients and runs the demo.
func TestGoSMTPClient(t *testing.T) {
	d := &desk{}
	_, addr := serve(t, d, ListenerOptions{}, withTLS(t))
	body := "Subject: x\r\n\r\n.dot\r\n"
	if err := smtp.SendMail(addr.String(), nil, "a@client.example", []string{"b@example.org"}, strings.NewReader(body)); err == nil {
		t.Error("it trusts a self-signed certificate")
	}
	c, err := smtp.Dial(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SendMail("a@client.example", []string{"b@example.org"}, strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	if got := d.wantLetters(t, 1)[0]; got.Data != body {
		t.Errorf("%q", got)
	}
}
