package smtpd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Certificates is the server's certificate, kept in two files and loaded again
// when they change. A new file that does not load leaves the old certificate
// in use, and says so once.
type Certificates struct {
	mu                sync.Mutex
	certFile, keyFile string
	report            func(error) // of a reload that handshakes found necessary

	current *tls.Certificate
	stamp   fileStamps // of what current, or the last failure, was read from
	checked time.Time
}

// fileStamps tells one state of the two files from another.
type fileStamps struct {
	certTime, keyTime time.Time
	certSize, keySize int64
}

// recheck is how often handshakes look at the files' times.
const recheck = time.Second

// LoadCertificates reads a PEM certificate chain and its key. report is told
// of later reloads that failed; nil drops that.
func LoadCertificates(certFile, keyFile string, report func(error)) (*Certificates, error) {
	if report == nil {
		report = func(error) {}
	}
	c := &Certificates{certFile: certFile, keyFile: keyFile, report: report}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// Adopt goes over to the files of next, and to what it has read from them; next
// must not be used afterwards. So a reload of the config can name other files.
func (c *Certificates) Adopt(next *Certificates) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.certFile, c.keyFile, c.report = next.certFile, next.keyFile, next.report
	c.current, c.stamp, c.checked = next.current, next.stamp, next.checked
}

// load reads the files. After an error the old certificate stays.
func (c *Certificates) load() error {
	c.checked = time.Now()
	stamp, err := c.stat()
	if err != nil {
		return err
	}
	c.stamp = stamp
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s, key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current = &pair
	return nil
}

func (c *Certificates) stat() (s fileStamps, err error) {
	cert, err := os.Stat(c.certFile)
	if err != nil {
		return s, err
	}
	key, err := os.Stat(c.keyFile)
	if err != nil {
		return s, err
	}
	return fileStamps{cert.ModTime(), key.ModTime(), cert.Size(), key.Size()}, nil
}

// GetCertificate is for tls.Config. It looks at the files at most once a
// second.
func (c *Certificates) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) >= recheck {
		c.checked = time.Now()
		// A file that is gone is one that is being replaced: wait for it.
		if stamp, err := c.stat(); err == nil && stamp != c.stamp {
			if err := c.load(); err != nil {
				c.report(err)
			}
		}
	}
	return c.current, nil
}

// NotAfter is when the certificate in use expires.
func (c *Certificates) NotAfter() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.Leaf.NotAfter
}

// Config is a server configuration with this certificate.
func (c *Certificates) Config() *tls.Config {
	return &tls.Config{GetCertificate: c.GetCertificate, MinVersion: tls.VersionTLS12}
}

// SelfSigned is the certificate of a server that was given none: made once, in
// dir, and kept, so that it stays the same over restarts. made reports whether
// it was made just now. Next hops and senders that do opportunistic TLS do not
// verify it; ECDSA since RSA handshakes cost twice the CPU.
func SelfSigned(dir, hostname string) (c *Certificates, made bool, err error) {
	certFile, keyFile := filepath.Join(dir, "selfsigned.crt"), filepath.Join(dir, "selfsigned.key")
	c, err = LoadCertificates(certFile, keyFile, nil)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return c, false, err
	}
	cert, key, err := generate(hostname, time.Now())
	if err != nil {
		return nil, false, err
	}
	if err := writePrivate(keyFile, "PRIVATE KEY", key); err != nil {
		return nil, false, err
	}
	if err := writePrivate(certFile, "CERTIFICATE", cert); err != nil {
		return nil, false, err
	}
	c, err = LoadCertificates(certFile, keyFile, nil)
	return c, true, err
}

// selfSignedFor is how long a self-signed certificate is good: nobody renews
// it, and nobody checks it.
const selfSignedFor = 10 * 365 * 24 * time.Hour

func generate(hostname string, now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: hostname},
		DNSNames:              []string{hostname},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(selfSignedFor),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	cert, err = x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	key, err = x509.MarshalPKCS8PrivateKey(private)
	return cert, key, err
}

// writePrivate writes a PEM file that was never readable by others, under its
// name only when it is whole.
func writePrivate(name, kind string, der []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
