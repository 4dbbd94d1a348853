package dnstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// TLS is the part of a Server that speaks DNS over TLS (RFC 7858). It reads
// queries ahead, and each reply goes out when it is ready, in any order.
type TLS struct {
	server *Server
	l      net.Listener
	ca     []byte

	mu    sync.Mutex
	conns map[net.Conn]bool
	count int
}

// TLSName is whom the certificate is for, besides 127.0.0.1.
const TLSName = "dns.test"

// RunTLS starts DNS over TLS for the zone of s, on a port of its own.
func (s *Server) RunTLS(t TB) *TLS {
	t.Helper()
	cert, ca, err := certificate()
	if err != nil {
		t.Fatalf("dnstest: %v", err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatalf("dnstest: %v", err)
	}
	d := &TLS{server: s, l: l, ca: ca, conns: map[net.Conn]bool{}}
	s.handlers.Go(d.accept)
	t.Cleanup(d.Close)
	return d
}

// Addr is host:port; for Options.Servers "tls://" goes before it, and
// "#"+TLSName behind.
func (d *TLS) Addr() string { return d.l.Addr().String() }

// CA is the certificate that signed the server's, as PEM.
func (d *TLS) CA() []byte { return d.ca }

// Connections is how many were opened.
func (d *TLS) Connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// Hangup closes all connections, as servers do with idle ones.
func (d *TLS) Hangup() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		_ = c.Close()
	}
}

// Close ends the listener and its connections. Server.Close waits for them.
func (d *TLS) Close() {
	_ = d.l.Close()
	d.Hangup()
}

func (d *TLS) accept() {
	for {
		c, err := d.l.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		d.count++
		d.conns[c] = true
		d.mu.Unlock()
		d.server.handlers.Go(func() { d.serve(c) })
	}
}

func (d *TLS) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		d.mu.Lock()
		delete(d.conns, c)
		d.mu.Unlock()
	}()
	w := &tlsWriter{conn: &dns.Conn{Conn: c}}
	for {
		m, err := w.conn.ReadMsg()
		if err != nil {
			return
		}
		d.server.handlers.Go(func() { d.server.handle(w, m) })
	}
}

// tlsWriter is a dns.ResponseWriter for many replies at once.
type tlsWriter struct {
	mu   sync.Mutex
	conn *dns.Conn
}

func (w *tlsWriter) LocalAddr() net.Addr  { return w.conn.LocalAddr() }
func (w *tlsWriter) RemoteAddr() net.Addr { return w.conn.RemoteAddr() }

func (w *tlsWriter) WriteMsg(m *dns.Msg) error {
	b, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

func (w *tlsWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn.Write(b)
}

func (w *tlsWriter) Close() error      { return w.conn.Close() }
func (*tlsWriter) TsigStatus() error   { return nil }
func (*tlsWriter) TsigTimersOnly(bool) {}
func (*tlsWriter) Hijack()             {}

// certificate makes a CA and a server certificate that it signed.
func certificate() (cert tls.Certificate, ca []byte, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, nil, err
	}
	caCert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dnstest CA"}, NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, caCert, caCert, &caKey.PublicKey, caKey)
	if err != nil {
		return cert, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{TLSName}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, caCert, &key.PublicKey, caKey)
	cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), err
}

// KeyPair is a certificate and key as PEM, for another server's own files.
func KeyPair(t TB) (cert, key, ca []byte) {
	t.Helper()
	c, ca, err := certificate()
	if err != nil {
		t.Fatalf("dnstest: %v", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatalf("dnstest: %v", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), ca
}
