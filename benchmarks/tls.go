package benchmarks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http/httptest"
	"sync"
	"time"
)

// overTLS starts a server as in production: over TLS, with an ECDSA certificate, and with HTTP/2 or without.
// Every client in this process that trusts what the machine trusts also trusts the authority of the
// certificate, so that all can be taken with the settings that they come with.
func overTLS(http2 bool) func(*httptest.Server) {
	return func(s *httptest.Server) {
		s.EnableHTTP2 = http2
		s.TLS = &tls.Config{Certificates: []tls.Certificate{trusted()}}
		s.StartTLS()
	}
}

// trusted returns the certificate of all servers. Its authority counts as one of the machine's own, because of the
// directive at the top of tls_test.go.
var trusted = sync.OnceValue(func() tls.Certificate {
	authorityKey, key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of the benchmarks"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	root := must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey))))
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	certificate := must(x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), authorityKey))
	roots := x509.NewCertPool()
	roots.AddCert(root)
	x509.SetFallbackRoots(roots)
	return tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: key}
})
