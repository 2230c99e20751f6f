package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// testWitness is a witness that does one thing wrong, or nothing.
type testWitness struct {
	fault  string
	log    note.Verifiers
	signer clockSigner
	tree   tlog.Tree
	shown  []byte
}

func (w *testWitness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.Method == "GET" {
		own := fmt.Sprintf("/%x/checkpoint", sha256.Sum256([]byte(testOrigin)))
		if r.URL.Path != own && w.fault != "shows any" {
			http.NotFound(rw, r)
		} else if w.fault == "shows no cosignature" {
			rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
			rw.Write(w.shown[:strings.LastIndex(string(w.shown[:len(w.shown)-1]), "\n")+1])
		} else {
			rw.Write(w.shown)
		}
		return
	}
	body, _ := io.ReadAll(r.Body)
	status, answer := w.add(string(body))
	if status == http.StatusConflict && w.fault != "conflict without its type" {
		rw.Header().Set("Content-Type", "text/x.tlog.size")
	}
	rw.WriteHeader(status)
	io.WriteString(rw, answer)
}

func (w *testWitness) add(body string) (int, string) {
	head, raw, found := strings.Cut(body, "\n\n")
	lines := strings.Split(head, "\n")
	var old int64
	if _, err := fmt.Sscanf(lines[0], "old %d", &old); err != nil || !found || (len(lines) > 64 && w.fault != "long proof") {
		return 400, ""
	}
	if !strings.HasPrefix(raw, testOrigin+"\n") && w.fault != "any log" {
		return 404, ""
	}
	n, err := note.Open([]byte(raw), w.log)
	if err != nil && w.fault != "any key" {
		return 403, ""
	}
	text, _, _ := strings.Cut(raw, "\n\n")
	if n != nil {
		text = strings.TrimSuffix(n.Text, "\n")
	}
	c, err := torchwood.ParseCheckpoint(text + "\n")
	var proof tlog.TreeProof
	for _, line := range lines[1:] {
		h, _ := tlog.ParseHash(line)
		proof = append(proof, h)
	}
	switch {
	case err != nil || (old > c.N && w.fault != "old above new"):
		return 400, ""
	case old != w.tree.N && w.fault != "any old size":
		return 409, fmt.Sprintf("%d\n", w.tree.N)
	case old == c.N && len(proof) > 0 && w.fault == "proof between equals":
	case old > 0 && w.fault != "any proof" && !(old == c.N && len(proof) == 0 && c.Hash == w.tree.Hash) &&
		tlog.CheckTree(proof, c.N, c.Hash, old, w.tree.Hash) != nil:
		return 422, ""
	}
	w.tree = c.Tree
	signed, _ := note.Sign(&note.Note{Text: text + "\n"}, w.signer)
	line := string(signed)[len(text)+2:]
	if w.fault == "signs another text" {
		signed, _ = note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: testOrigin, Tree: tlog.Tree{N: c.N}}.String()}, w.signer)
		line = string(signed)[strings.Index(string(signed), "\n\n")+2:]
	}
	w.shown = []byte(raw + line)
	return 200, line
}

// A witness passes that follows the protocol, and none that departs from it in one point.
func TestWitness(t *testing.T) {
	s := newSynthetic(t, 0, nil)
	logKey, err := note.NewVerifier(s.config.logVkey)
	ok(t, err)
	earlier := torchwood.Checkpoint{Origin: testOrigin, Tree: s.tree(oldSize)}.String()
	signed, err := note.Sign(&note.Note{Text: earlier}, s.logSigner)
	ok(t, err)
	s.config.earlierNote = s.write("earlier", signed)
	for _, fault := range []string{"", "long proof", "any log", "any key", "old above new", "any old size", "any proof",
		"proof between equals", "conflict without its type", "signs another text", "old clock", "shows any", "shows no cosignature"} {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		ok(t, err)
		signer := clockSigner{"witness.test/w", key, uint64(time.Now().Unix())}
		if fault == "old clock" {
			signer.time -= 3600
		}
		server := httptest.NewServer(&testWitness{fault: fault, log: note.VerifierList(logKey), signer: signer})
		s.config.witnessURL, s.config.witnessShows = server.URL, server.URL
		s.config.witnessVkey = fmt.Sprintf("%s+%08x+%s", signer.name, signer.KeyHash(), base64.StdEncoding.EncodeToString(signer.typed()))
		t.Run(fault, func(t *testing.T) {
			if fault == "" {
				s.wants(t, "")
			} else {
				s.wants(t, "witness")
			}
		})
		server.Close()
	}
}
