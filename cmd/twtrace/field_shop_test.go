package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// asShop in the environment turns the test binary into a shop's server, or into a client of
// it whose pool keeps so many idle connections.
const asShop = "TWTRACE_TEST_SHOP"

const shopAddr = "127.0.0.1:8080"

func shop(mode string) {
	if mode == "serve" {
		http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * time.Millisecond)
			fmt.Fprint(w, "ok")
		})
		fmt.Println("serves")
		fmt.Println(http.ListenAndServe(shopAddr, nil))
		os.Exit(1)
	}
	idle, err := strconv.Atoi(mode)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	buy(idle)
}

// buy has ten goroutines ask at once, twenty times a second.
func buy(idle int) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = idle
	client := &http.Client{Transport: transport, Timeout: 3 * time.Second}
	var reused, fresh, failed atomic.Int64
	gate := make(chan struct{}, 10)
	for range cap(gate) {
		go func() {
			for range gate {
				if err := buyOne(client, &reused, &fresh); err != nil {
					failed.Add(1)
				}
			}
		}()
	}
	for range time.Tick(50 * time.Millisecond) {
		for range cap(gate) {
			select {
			case gate <- struct{}{}:
			default:
			}
		}
		fmt.Println("reused", reused.Load(), "fresh", fresh.Load(), "failed", failed.Load())
	}
}

func buyOne(client *http.Client, reused, fresh *atomic.Int64) error {
	request, err := http.NewRequest(http.MethodGet, "http://"+shopAddr+"/", nil)
	if err != nil {
		return err
	}
	got := func(c httptrace.GotConnInfo) {
		if c.Reused {
			reused.Add(1)
		} else {
			fresh.Add(1)
		}
	}
	request = request.WithContext(httptrace.WithClientTrace(request.Context(), &httptrace.ClientTrace{GotConn: got}))
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
