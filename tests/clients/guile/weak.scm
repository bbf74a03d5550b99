;;; weak.scm - weak tables, weak vectors and object properties. Argument: the rounds.
;;; A conservative collector may keep a few entries, so that counts are printed as bounds.
(use-modules (ice-9 weak-vector))

(define n 20000)
(define property (make-object-property))

(define (fill! table set! make-key make-value)
  (let loop ((i 0) (held '()))
    (if (= i n)
        held
        (let ((key (make-key i)) (value (make-value i)))
          (set! table key value)
          (loop (+ i 1) (if (even? i) (acons key value held) held))))))

(define (all-there? table ref held)
  (or (null? held)
      (and (equal? (ref table (caar held)) (cdar held))
           (all-there? table ref (cdr held)))))

(define (live table) (hash-fold (lambda (key value n) (+ n 1)) 0 table))

(define (round kind make ref set)
  (let* ((table (make))
         (held (fill! table set (lambda (i) (list 'key i)) (lambda (i) (list 'value i)))))
    (gc)
    (gc)
    (format #t "~a: all held are there: ~a, most others are gone: ~a~%" kind
            (all-there? table ref held) (< (live table) (quotient (* n 60) 100)))
    (length held)))

(define (strings-as-keys)
  (let* ((table (make-weak-key-hash-table))
         (held (fill! table hash-set! number->string (lambda (i) (* i i)))))
    (gc)
    (format #t "strings: ~a~%" (all-there? table hash-ref held))))

(define (vectors)
  (let* ((weak (make-weak-vector n #f)) (held (make-vector n #f)))
    (do ((i 0 (+ i 1))) ((= i n))
      (let ((object (list i)))
        (weak-vector-set! weak i object)
        (when (zero? (modulo i 3)) (vector-set! held i object))))
    (gc)
    (let loop ((i 0) (wrong 0) (left 0))
      (if (= i n)
          (format #t "weak vector: wrong ~a, most others are gone: ~a~%" wrong
                  (< left (quotient n 20)))
          (let ((object (weak-vector-ref weak i)) (strong (vector-ref held i)))
            (loop (+ i 1)
                  (if (and strong (not (eq? object strong))) (+ wrong 1) wrong)
                  (if (and object (not strong)) (+ left 1) left)))))))

(define (properties)
  (let ((objects (map list (iota 3000))))
    (for-each (lambda (o) (set! (property o) (* 3 (car o)))) objects)
    (gc)
    (format #t "properties: ~a~%"
            (apply + (map (lambda (o) (property o)) objects)))))

(do ((i 1 (+ i 1))) ((> i (string->number (cadr (command-line)))))
  (round "weak keys" make-weak-key-hash-table hashq-ref hashq-set!)
  (round "weak values" make-weak-value-hash-table hashq-ref hashq-set!)
  (round "doubly weak" make-doubly-weak-hash-table hashq-ref hashq-set!)
  (strings-as-keys)
  (vectors)
  (properties))
