;;; tables.scm - hash tables by eq?, equal? and string, and functional ones. Argument: the rounds.
(use-modules (ice-9 vlist) (srfi srfi-1) ((srfi srfi-69) #:prefix s69:))

(define n 60000)

(define (numbers)
  (let ((table (make-hash-table)))
    (do ((i 0 (+ i 1))) ((= i n)) (hashv-set! table (* i 17) (list i)))
    (do ((i 0 (+ i 3))) ((>= i n)) (hashv-remove! table (* i 17)))
    (hash-fold (lambda (key value sum) (+ sum key (car value))) 0 table)))

(define (strings)
  (let ((table (make-hash-table)))
    (do ((i 0 (+ i 1))) ((= i n))
      (hash-set! table (string-append "key-" (number->string (modulo i 20000)))
                 (cons i (hash-ref table (number->string i) '()))))
    (hash-fold (lambda (key value sum) (+ sum (string-length key) (car value))) 0 table)))

(define (functional)
  (let ((table (fold (lambda (i table) (vhash-consv i (* i i) table)) vlist-null (iota 20000))))
    (fold (lambda (i sum) (+ sum (cdr (vhash-assv i table)))) 0 (iota 20000))))

(define (portable)
  (let ((table (s69:alist->hash-table (map (lambda (i) (cons (list i (+ i 1)) i)) (iota 10000)))))
    (s69:hash-table-update!/default table '(5 6) (lambda (x) (+ x 1000)) 0)
    (s69:hash-table-fold table (lambda (key value sum) (+ sum (car key) value)) 0)))

(do ((i 1 (+ i 1))) ((> i (string->number (cadr (command-line)))))
  (format #t "~a ~a ~a ~a ~a~%" i (numbers) (strings) (functional) (portable)))
