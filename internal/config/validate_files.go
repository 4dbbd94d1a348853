package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

func (v *validator) tls() {
	cert, key := v.given("tls.certificate"), v.given("tls.key")
	switch {
	case cert && !key:
		v.at("tls.certificate", "has no key", "write tls.key too, the file of its private key")
	case key && !cert:
		v.at("tls.key", "has no certificate", "write tls.certificate too, the file of the chain in PEM form")
	case cert && v.readable("tls.certificate", v.c.TLS.Certificate) && v.readable("tls.key", v.c.TLS.Key):
		if _, err := tls.LoadX509KeyPair(string(v.c.TLS.Certificate), string(v.c.TLS.Key)); err != nil {
			v.at("tls.key", "does not make a pair with the certificate: "+err.Error(), "both are PEM files; the key is that of the first certificate")
		}
	}
}

// certificates demands a PEM file of certificates.
func (v *validator) certificates(path string, p Path) {
	data, err := os.ReadFile(string(p))
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
		err = errors.New("it holds no certificate in PEM form")
	}
	if err != nil {
		v.at(path, fmt.Sprintf("%q cannot be used: %v", p, err), "name a PEM file of the authority's certificate")
	}
}

// files looks at everything that has to be there when the gateway starts.
// data_dir is made when it is absent, a scanner may come later.
func (v *validator) files() {
	for i, p := range v.c.Rules.Files {
		v.readable(fmt.Sprintf("rules.files[%d]", i), p)
	}
	for i, dom := range v.c.Domains {
		v.readable(fmt.Sprintf("domain[%d].recipients", i), dom.Recipients)
	}
	for i, k := range v.c.DKIM {
		v.readable(fmt.Sprintf("dkim[%d].key", i), k.Key)
	}
	v.readable("outbound.passwords", v.c.Outbound.Passwords)
	v.readable("outbound.client_ca", v.c.Outbound.ClientCA)
	v.keyFile("queue.encryption_key", v.c.Queue.EncryptionKey)
	if v.c.DataDir == "" || v.known.SkipFiles {
		return
	}
	if info, err := os.Stat(string(v.c.DataDir)); err == nil && !info.IsDir() {
		v.at("data_dir", fmt.Sprintf("%q is not a folder", v.c.DataDir), "name a folder, or one that is to be made")
	}
}

// keyFile demands a file that only its owner can read: who else can, has the
// key. What systemd hands over is its own affair.
func (v *validator) keyFile(path string, k KeySource) {
	if k == "" || k.Credential() != "" || !v.readable(path, Path(k)) {
		return
	}
	if info, err := os.Stat(string(k)); err == nil && info.Mode().Perm()&0o077 != 0 {
		v.at(path, fmt.Sprintf("%q may be read or written by others (mode %04o)", k, info.Mode().Perm()), "chmod 600 "+string(k))
	}
}

// readable reports whether the file can be opened and read, "" and unchecked
// files being none of its business.
func (v *validator) readable(path string, p Path) bool {
	if p == "" || v.known.SkipFiles {
		return false
	}
	f, err := os.Open(string(p))
	if err == nil {
		defer f.Close()
		_, err = f.Read(make([]byte, 1))
		if err == nil || errors.Is(err, io.EOF) {
			return true
		}
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	v.at(path, fmt.Sprintf("%q cannot be read: %v", p, err), "")
	return false
}
