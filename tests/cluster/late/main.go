// late LISTEN SERVER PKI DELAY: a proxy before the API server, for the kubelet, that holds back for so long what watches
// of ConfigMaps say. PKI is the directory with the certificates of the API server, by which it serves, of the kubelet, and
// of the authority.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: late LISTEN SERVER PKI DELAY")
	}
	listen, pki := os.Args[1], os.Args[3]
	server, err := url.Parse(os.Args[2])
	check(err)
	delay, err := time.ParseDuration(os.Args[4])
	check(err)
	authority, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	kubelet, err := tls.LoadX509KeyPair(filepath.Join(pki, "kubelet.crt"), filepath.Join(pki, "kubelet.key"))
	check(err)

	proxy := httputil.NewSingleHostReverseProxy(server)
	proxy.FlushInterval = -1
	proxy.Transport = &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{kubelet}},
	}
	proxy.ModifyResponse = func(response *http.Response) error {
		asked := response.Request.URL
		if strings.Contains(asked.Path, "/configmaps") && asked.Query().Has("watch") {
			response.Body = heldBack(response.Body, delay)
		}
		return nil
	}
	log.Fatal(http.ListenAndServeTLS(
		listen, filepath.Join(pki, "apiserver.crt"), filepath.Join(pki, "apiserver.key"), proxy))
}

type piece struct {
	due   time.Time
	bytes []byte
}

// heldBack gives each piece of a body so much later than it came.
func heldBack(body io.ReadCloser, delay time.Duration) io.ReadCloser {
	pieces := make(chan piece, 1024)
	go func() {
		defer close(pieces)
		for {
			buffer := make([]byte, 32<<10)
			length, err := body.Read(buffer)
			pieces <- piece{time.Now().Add(delay), buffer[:length]}
			if err != nil {
				return
			}
		}
	}()
	reader, writer := io.Pipe()
	go func() {
		for piece := range pieces {
			time.Sleep(time.Until(piece.due))
			// The error of a reader that is gone; the request's end ends the pieces too.
			_, _ = writer.Write(piece.bytes)
		}
		writer.Close()
		body.Close()
	}()
	return reader
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
