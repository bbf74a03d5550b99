;;; strings.scm - strings, symbols and ports: atomic objects of all sizes. Argument: the rounds.
(use-modules (ice-9 regex) (srfi srfi-13) (rnrs bytevectors))

(define (text n)
  (call-with-output-string
   (lambda (port)
     (do ((i 0 (+ i 1))) ((= i n))
       (display (number->string (* i 7919) 16) port)
       (write-char (if (zero? (modulo i 12)) #\newline #\space) port)))))

(define (checksum s)
  (string-fold (lambda (c sum) (modulo (+ (* sum 33) (char->integer c)) 1000003)) 5381 s))

(define (round i)
  (let* ((s (text (+ 4000 i)))
         (words (string-tokenize s))
         (symbols (map string->symbol words))
         (upper (string-upcase (string-join words "-")))
         (bytes (string->utf8 upper))
         (copy (make-bytevector (* 3 (bytevector-length bytes)) 7))
         (replaced (regexp-substitute/global #f "[0-9]+" (substring s 0 2000) 'pre "#" 'post)))
    (bytevector-copy! bytes 0 copy 0 (bytevector-length bytes))
    (list (length symbols) (checksum upper) (checksum replaced)
          (checksum (utf8->string (string->utf8 (list->string (reverse (string->list s))))))
          (bytevector-u8-ref copy (- (bytevector-length copy) 1)))))

(do ((i 1 (+ i 1))) ((> i (string->number (cadr (command-line)))))
  (format #t "~a ~a~%" i (round i)))
