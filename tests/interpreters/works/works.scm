; works.scm - works of the port of TinyScheme: works.scm fib|strings|tables|trees

(define (fib n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))

(define (strings)
  (let loop ((i 0) (sum 0))
    (if (= i 2000)
        sum
        (let inner ((j 0) (s ""))
          (if (< j 10)
              (inner (+ j 1) (string-append s "item " (number->string i) "." (number->string j)))
              (loop (+ i 1) (+ sum (string-length s) (string-length (substring s 1 20)))))))))

(define (tables)
  (let round ((r 0) (sum 0))
    (if (= r 20)
        sum
        (let insert ((i 0) (table '()))
          (if (< i 200)
              (insert (+ i 1) (cons (list i (* i r)) table))
              (let find ((i 0) (sum sum))
                (if (= i 200)
                    (round (+ r 1) sum)
                    (find (+ i 10) (+ sum (cadr (assv i table)))))))))))

(define (tree depth) (if (= depth 0) '() (cons (tree (- depth 1)) (tree (- depth 1)))))
(define (nodes t) (if (null? t) 0 (+ 1 (nodes (car t)) (nodes (cdr t)))))

(define (trees)
  (let loop ((i 0) (sum 0))
    (if (= i 4) sum (loop (+ i 1) (+ sum (nodes (tree 11)))))))

(define name (string->symbol (car *args*)))
(display (case name
  ((fib) (fib 18))
  ((strings) (strings))
  ((tables) (tables))
  ((trees) (trees))))
(newline)
(quit)
