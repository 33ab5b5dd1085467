// Go's net/http, which Ollama's own command line uses.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"time"
)

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type chat struct {
	Model    string    `json:"model"`
	Messages []message `json:"messages"`
	Stream   bool      `json:"stream"`
}

var (
	url   = os.Args[1]
	stdin = bufio.NewReader(os.Stdin)
	cases = []struct {
		name string
		run  func(name string) (any, error)
	}{
		{"chat", chatOnce},
		{"chat, streamed", chatStreamed},
		{"chat, unknown model", unknownModel},
		{"one connection for three requests", reuse},
		{"upload without length", func(string) (any, error) { return upload(1<<20, -1) }},
		{"upload with length", func(string) (any, error) { return upload(1<<21, 1<<21) }},
		{"upload of a model in chunks", func(string) (any, error) { return upload(1<<25, -1) }},
		{"chat, cancelled before the response", cancelled},
		{"chat, left in the stream", left},
		{"chat, timeout", timeout},
	}
)

func main() {
	for _, c := range cases {
		result, err := c.run(c.name)
		if err != nil {
			log.Fatalf("%s: %v", c.name, err)
		}
		say(map[string]any{"case": c.name, "result": result})
	}
}

// say prints a line of JSON.
func say(value any) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		log.Fatal(err)
	}
}

// wait reports an event, and waits for a line on standard input.
func wait(name, event string) {
	say(map[string]any{"case": name, "event": event})
	if _, err := stdin.ReadString('\n'); err != nil {
		log.Fatal(err)
	}
}

// post sends a chat. The fake Ollama does what behaviour says.
func post(ctx context.Context, behaviour string, body chat) (*http.Response, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/chat", bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Fake-Ollama", behaviour)
	return http.DefaultClient.Do(request)
}

func hello(stream bool) chat {
	return chat{"llama3.2", []message{{"user", "Hello"}}, stream}
}

func chatOnce(string) (any, error) {
	response, err := post(context.Background(), "", hello(false))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct{ Message message }
	err = json.NewDecoder(response.Body).Decode(&answer)
	return answer.Message.Content, err
}

func chatStreamed(name string) (any, error) {
	response, err := post(context.Background(), "hold", hello(true))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var text strings.Builder
	for lines := json.NewDecoder(response.Body); lines.More(); {
		var line struct{ Message message }
		if err := lines.Decode(&line); err != nil {
			return nil, err
		}
		if text.Len() == 0 {
			say(map[string]any{"case": name, "event": "first"})
		}
		text.WriteString(line.Message.Content)
	}
	return response.Proto + " " + text.String(), nil
}

func unknownModel(string) (any, error) {
	response, err := post(context.Background(), "", chat{Model: "none"})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s", response.StatusCode, body), err
}

// reuse returns which of three requests went over a connection that was there.
func reuse(string) (any, error) {
	client := &http.Client{Transport: &http.Transport{}}
	reused := []bool{}
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = append(reused, info.Reused) }}
	for range [3]int{} {
		ctx := httptrace.WithClientTrace(context.Background(), trace)
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/tags", nil)
		if err != nil {
			return nil, err
		}
		response, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return nil, err
		}
		response.Body.Close()
	}
	return reused, nil
}

// upload sends a blob through a pipe, in chunks if length is -1.
func upload(size int, length int64) (any, error) {
	blob := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	reader, writer := io.Pipe()
	go func() {
		_, err := io.Copy(writer, bytes.NewReader(blob))
		writer.CloseWithError(err)
	}()
	path := fmt.Sprintf("%s/api/blobs/sha256:%x", url, sha256.Sum256(blob))
	request, err := http.NewRequest(http.MethodPost, path, reader)
	if err != nil {
		return nil, err
	}
	request.ContentLength = length
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return response.StatusCode, nil
}

func cancelled(name string) (any, error) {
	ctx, cancel := context.WithCancel(context.Background())
	body := hello(true)
	body.Messages[0].Content = strings.Repeat("x", 100_000)
	done := make(chan error)
	go func() {
		_, err := post(ctx, "hang", body)
		done <- err
	}()
	wait(name, "sent")
	cancel()
	err := <-done
	wait(name, "cancelled")
	return errors.Is(err, context.Canceled), nil
}

func left(name string) (any, error) {
	ctx, cancel := context.WithCancel(context.Background())
	response, err := post(ctx, "hold", hello(true))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var line struct{ Message message }
	if err := json.NewDecoder(response.Body).Decode(&line); err != nil {
		return nil, err
	}
	cancel()
	wait(name, "cancelled")
	return line.Message.Content, nil
}

func timeout(name string) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := post(ctx, "timeout", hello(true))
	wait(name, "cancelled")
	return errors.Is(err, context.DeadlineExceeded), nil
}
