package main

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// site is the log's URL prefix, and what its answers' headers did wrong.
type site struct {
	ctx    context.Context
	base   string
	client *http.Client
	mu     sync.Mutex
	wrong  string
}

func newSite(ctx context.Context, base string) *site {
	s := &site{ctx: ctx, base: strings.TrimSuffix(base, "/") + "/"}
	s.client = &http.Client{Transport: s, Timeout: 10 * time.Second}
	return s
}

var transport = func() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	return t
}()

// RoundTrip notes the first answer whose headers are not what its path promises.
// It does not fail there: torchwood would take that for a network error and retry.
func (s *site) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := transport.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusOK {
		if fault := headerFault("/"+strings.TrimPrefix(req.URL.String(), s.base), resp.Header); fault != "" {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.wrong == "" {
				s.wrong = fmt.Sprintf("%s: %s", req.URL.Path, fault)
			}
		}
	}
	return resp, err
}

func headerFault(path string, h http.Header) string {
	want := ""
	switch {
	case path == "/checkpoint":
		want = "text/plain; charset=utf-8"
	case strings.HasPrefix(path, "/tile/"):
		want = "application/octet-stream"
	case strings.HasPrefix(path, "/v1/proofs/"):
		want = "application/json"
	case strings.HasPrefix(path, "/statement/"):
		if !strings.Contains(h.Get("Cache-Control"), "no-store") {
			return fmt.Sprintf("Cache-Control %q lacks no-store", h.Get("Cache-Control"))
		}
		return ""
	}
	got, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if charset, has := params["charset"]; has {
		got += "; charset=" + strings.ToLower(charset)
	}
	if err != nil || got != want {
		return fmt.Sprintf("Content-Type %q, want %s", h.Get("Content-Type"), want)
	}
	return ""
}

// get fetches a path and takes only a 200.
func (s *site) get(path string) ([]byte, error) {
	status, body, err := s.status(path)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("/%s: status %d", path, status)
	}
	return body, err
}

func (s *site) status(path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(s.ctx, "GET", s.base+path, nil)
	if err != nil {
		return 0, nil, unable{err}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, unable{err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return 0, nil, unable{err}
	}
	return resp.StatusCode, body, nil
}

// tileReader gives x/mod's tlog our tiles: its own paths name the height, C2SP's do not.
// It keeps what tlog has authenticated, so the right edge is fetched once.
type tileReader struct {
	site *site
	kept map[tlog.Tile][]byte
}

func newTileReader(s *site) *tileReader { return &tileReader{s, make(map[tlog.Tile][]byte)} }

func (r *tileReader) Height() int { return torchwood.TileHeight }

func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, t := range tiles {
		if data[i] = r.kept[t]; data[i] != nil {
			continue
		}
		var err error
		if data[i], err = r.site.get(torchwood.TilePath(t)); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (r *tileReader) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, t := range tiles {
		r.kept[t] = data[i]
	}
}
